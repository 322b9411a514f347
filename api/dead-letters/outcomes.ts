/** Outcomes of commands on dead letters as answers: what was not done is a problem. */
import type { DiscardOutcome, RedriveOutcome } from '../../events/redrive';
import { DeadLetterCommandPendingError } from '../../operations/dead-letters';
import { UndecidedError } from '../commands/temporal-commands';
import { Problem } from '../http/problem';

/** Does what a command asks. @throws UndecidedError when it is not known in time whether it was done */
export async function orUndecided<Outcome>(work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof DeadLetterCommandPendingError ? new UndecidedError(error) : error;
  }
}

/** Why a dead letter was not redriven. */
export function toRedriveProblem(
  id: number,
  outcome: Exclude<RedriveOutcome, { kind: 'redriven' }>,
): Problem {
  switch (outcome.kind) {
    case 'unknown-dead-letter':
      return unknownDeadLetter(id);
    case 'settled':
      return settled(id, outcome.status);
    case 'unreadable':
      return new Problem('UNREADABLE');
    case 'refused':
      return new Problem('REDRIVE_REFUSED', { detail: `Nothing was sent: ${outcome.detail}` });
  }
}

/** Why a dead letter was not discarded. */
export function toDiscardProblem(
  id: number,
  outcome: Exclude<DiscardOutcome, { kind: 'discarded' }>,
): Problem {
  switch (outcome.kind) {
    case 'unknown-dead-letter':
      return unknownDeadLetter(id);
    case 'settled':
      return settled(id, outcome.status);
    case 'redriving':
      return new Problem('REDRIVE_UNDER_WAY');
  }
}

/** There is no such dead letter. */
export function unknownDeadLetter(id: number): Problem {
  return new Problem('DEAD_LETTER_NOT_FOUND', { detail: `There is no dead letter ${id}.` });
}

function settled(id: number, how: string): Problem {
  return new Problem('DEAD_LETTER_SETTLED', { detail: `Dead letter ${id} is already ${how}.` });
}
