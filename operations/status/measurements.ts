/** What the state of the system is judged by: each measured by itself, or missing for a reason. */
import type { Consumption } from '../../operations/consumption';
import type { PartitionLag } from '../../platform/kafka/consumer-lag';
import type { VerificationOutcome } from '../../operations/verification-runs';
import type { LastAudit } from './last-audit';
import type { ServerState } from './servers';

/** What was measured, or why it could not be. */
export type Measured<Value> = { readonly value: Value } | { readonly unmeasured: string };

/** How many of something wait, and since when the oldest does. */
export interface Waiting {
  readonly count: number;
  /** Whether more wait than were counted. */
  readonly more: boolean;
  /** Null when nothing waits. */
  readonly oldestAt: Date | null;
}

/** A bridge, as it has said of itself a few seconds ago. */
export interface BridgeState {
  readonly id: string;
  readonly mode: 'per-event' | 'coalesce';
  readonly inFlight: number;
  readonly slots: number;
  /** Why consumption is paused; empty while it runs. */
  readonly pausedBy: readonly string[];
  /** Since when the consumer lag grows; null while it does not. */
  readonly lagGrowsSince: Date | null;
}

/** What PostgreSQL has counted. */
export interface Counts {
  /** Events of the outbox that are not published. */
  readonly outbox: Waiting;
  /** Orders that are neither confirmed nor cancelled. */
  readonly orders: Waiting;
  /** Dead letters that wait for an operator. */
  readonly deadLetters: Waiting;
  /** The bridges that run. */
  readonly bridges: readonly BridgeState[];
  /** What operators hold or bound. */
  readonly consumption: Consumption;
  /** The last verification that has checked every invariant; null when none has. */
  readonly verification: Verification | null;
}

/** What a verification has found. */
export interface Verification {
  readonly outcome: Exclude<VerificationOutcome, 'incomplete'>;
  readonly finishedAt: Date;
  readonly by: string;
  /** The names of the invariants that are violated. */
  readonly violated: readonly string[];
}

/** Instances of a process that poll for work; undefined when nobody could say. */
interface ProcessCount {
  readonly name: 'worker:commerce' | 'worker:collector' | 'bridge';
  readonly running: number | undefined;
}

/** Everything that is measured, at one moment. */
export interface Measurements {
  readonly at: Date;
  readonly servers: readonly ServerState[];
  readonly counts: Measured<Counts>;
  readonly lag: Measured<readonly PartitionLag[]>;
  readonly processes: Measured<readonly ProcessCount[]>;
  /** The last delivery audit that has ended; undefined when none has yet. */
  readonly audit: Measured<LastAudit | undefined>;
}
