/** What a notification is: one kind of message to a receiver outside, about one type of event. */
import type { Event, EventOf } from '../../../events/envelope';
import type { EventType } from '../../../events/schemas';
import type { Config } from '../../../platform/process/config';

/** The variables that name a receiver: `WEBHOOK_…_URL`. */
type UrlVariable = Extract<keyof Config, `WEBHOOK_${string}_URL`>;

/** A notification as it is declared. */
export interface NotificationDeclaration<Type extends EventType> {
  /**
   * Its name, in lower case with hyphens. Fixed for ever: it is part of the idempotency key, of the
   * workflow's ID and of the rows in `collector.notifications`.
   */
  readonly name: string;
  /** The variable with the receiver's address. While it is unset, nothing is recorded. */
  readonly receiver: UrlVariable;
  /** The type of the events that may be due. */
  readonly event: Type;
  /**
   * Which of these events are due: an SQL condition on `data`, the event's data as `jsonb`. The
   * database decides, in the statement that marks the event as handled.
   */
  readonly isDue: string;
  /** What the receiver is told, from the event alone: a retry has to tell the same. */
  readonly tell: (event: EventOf<Type>) => object;
}

/** A notification of whatever event type. */
export interface Notification extends Omit<NotificationDeclaration<EventType>, 'tell'> {
  readonly tell: (event: Event) => object;
}

/** Declares a notification; `registry.ts` has to list it. */
export function declareNotification<Type extends EventType>(
  declaration: NotificationDeclaration<Type>,
): Notification {
  // The database has compared the type: `tell` sees no event of another one.
  return { ...declaration, tell: (event) => declaration.tell(event as EventOf<Type>) };
}
