/**
 * Settling dead letters: sending one back to the topic that it came from, or giving it up. What can
 * be asked for, how it can turn out, and how a message says that it was sent back.
 */
import { readHeader, type Coordinates, type ReceivedHeader } from './received';

/** Whether a dead letter waits for somebody, was sent back to its topic, or was given up. */
export type DeadLetterStatus = 'parked' | 'redriven' | 'discarded';

/** The header that a redriven message has besides its own: the ID of its dead letter. */
export const redrivenFromHeader = 'redriven_from';

/** Sends a dead letter back to its topic. */
export interface RedriveDeadLetter {
  readonly deadLetterId: number;
  /** Which redrive of this dead letter, from 1: each happens once. */
  readonly attempt: number;
  /** Who asks for it. */
  readonly by: string;
  /** Whether to send it also when it was redriven or discarded before. */
  readonly again: boolean;
}

/** How a redrive turned out; all but `redriven` sent nothing. */
export type RedriveOutcome =
  /** It is in its topic again: there, if it was this very call that sent it. */
  | { readonly kind: 'redriven'; readonly sentTo?: Coordinates }
  | { readonly kind: 'unknown-dead-letter' }
  /** It was settled before, and this was not said to be once more. */
  | { readonly kind: 'settled'; readonly status: DeadLetterStatus }
  /** No message could be read there, so there is none to be sent; it stays parked. */
  | { readonly kind: 'unreadable' }
  /** Kafka will never take it; it stays parked. */
  | { readonly kind: 'refused'; readonly detail: string };

/** Gives a dead letter up. */
export interface DiscardDeadLetter {
  readonly deadLetterId: number;
  readonly by: string;
  /** Why, for a person. */
  readonly reason: string;
}

/** How giving up turned out; all but `discarded` changed nothing. */
export type DiscardOutcome =
  /** It is given up, now or since before: whoever did so first, and why, stays on record. */
  | { readonly kind: 'discarded' }
  | { readonly kind: 'unknown-dead-letter' }
  /** It was sent back to its topic before. */
  | { readonly kind: 'settled'; readonly status: DeadLetterStatus }
  /** It is being sent back right now, and may be in its topic already. */
  | { readonly kind: 'redriving' };

/**
 * The ID of the dead letter that a message says it was redriven from; undefined where it says
 * nothing of the kind. Anybody can write a header, so it is a claim only.
 */
export function redrivenFrom(headers: readonly ReceivedHeader[]): number | undefined {
  const text = readHeader(headers, redrivenFromHeader) ?? '';
  return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined;
}

/** The headers of a message, saying from now on which dead letter it was redriven from. */
export function withRedrivenFrom(
  headers: readonly ReceivedHeader[],
  deadLetterId: number,
): ReceivedHeader[] {
  const own = headers.filter(({ name }) => name !== redrivenFromHeader);
  return [...own, { name: redrivenFromHeader, text: String(deadLetterId) }];
}
