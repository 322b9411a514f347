/** Redriving and discarding dead letters: requests, outcomes, and the header of a redriven message. */
import { readHeader, type Coordinates, type ReceivedHeader } from './received';

/** Status of a dead letter: waiting, redriven or discarded. */
export type DeadLetterStatus = 'parked' | 'redriven' | 'discarded';

/** The header that a redriven message has besides its own: the ID of its dead letter. */
export const redrivenFromHeader = 'redriven_from';

/** Redrives a dead letter: sends it back to its topic. */
export interface RedriveDeadLetter {
  readonly deadLetterId: number;
  /** Which redrive of this dead letter, from 1: each happens once. */
  readonly attempt: number;
  /** Who asks for it. */
  readonly by: string;
  /** Whether to redrive it even if it is settled. */
  readonly again: boolean;
}

/** Outcome of a redrive; all but `redriven` sent nothing. */
export type RedriveOutcome =
  /** It is in its topic again; at `sentTo`, if this call sent it. */
  | { readonly kind: 'redriven'; readonly sentTo?: Coordinates }
  | { readonly kind: 'unknown-dead-letter' }
  /** It was settled before, and `again` was not set. */
  | { readonly kind: 'settled'; readonly status: DeadLetterStatus }
  /** No message could be read there, so there is none to be sent; it stays parked. */
  | { readonly kind: 'unreadable' }
  /** Kafka will never accept it; it stays parked. */
  | { readonly kind: 'refused'; readonly detail: string };

export interface DiscardDeadLetter {
  readonly deadLetterId: number;
  readonly by: string;
  /** Why, for a person. */
  readonly reason: string;
}

/** Outcome of a discard; all but `discarded` changed nothing. */
export type DiscardOutcome =
  /** It is discarded, now or before: the first caller and reason are kept. */
  | { readonly kind: 'discarded' }
  | { readonly kind: 'unknown-dead-letter' }
  /** It was redriven before. */
  | { readonly kind: 'settled'; readonly status: DeadLetterStatus }
  /** It is being redriven, and may be in its topic already. */
  | { readonly kind: 'redriving' };

/**
 * The ID of the dead letter that a message claims to be redriven from, if any. Anybody can write a
 * header: do not trust it.
 */
export function redrivenFrom(headers: readonly ReceivedHeader[]): number | undefined {
  const text = readHeader(headers, redrivenFromHeader) ?? '';
  return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined;
}

/** The headers of a message, with the ID of the dead letter that it is redriven from. */
export function withRedrivenFrom(
  headers: readonly ReceivedHeader[],
  deadLetterId: number,
): ReceivedHeader[] {
  const own = headers.filter(({ name }) => name !== redrivenFromHeader);
  return [...own, { name: redrivenFromHeader, text: String(deadLetterId) }];
}
