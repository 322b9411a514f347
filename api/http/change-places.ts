/**
 * How many changes may be under way at once: at most a configured number, and fewer where what is accepted
 * would wait for so long that it expires (docs/decisions/0036-places-follow-the-wait.md).
 */
import type { Logger } from '../../platform/observability/logger';

/** The places of changes under way. */
export interface ChangePlaces {
  /** As many as there are now. */
  readonly count: number;
  /** A change that waits for nothing but its turn was decided: when it began, in ms of `performance.now()`. */
  decided(beganAt: number): void;
}

export interface ChangePlacesOptions {
  readonly most: number;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** `performance.now()` by default. */
  readonly now?: () => number;
}

/** With fewer, workers would be idle. */
const fewest = 16;

/** A third of the five seconds after which a command expires. */
const longWaitMs = 1_600;

/** Changes that are decided so soon do not wait: there may be many more. */
const noWaitMs = 400;

/** For how long waits are gathered at least. */
const windowMs = 1_000;

export function createChangePlaces(options: ChangePlacesOptions): ChangePlaces {
  return new AdaptivePlaces(options);
}

class AdaptivePlaces implements ChangePlaces {
  count: number;
  private windowBeginsAt: number;
  private waitsMs: number[] = [];

  constructor(private readonly options: ChangePlacesOptions) {
    this.count = options.most;
    this.windowBeginsAt = this.now();
  }

  decided(beganAt: number): void {
    const now = this.now();
    if (now < this.windowBeginsAt) return;
    this.waitsMs.push(now - beganAt);
    if (now - this.windowBeginsAt < windowMs) return;
    // Some may have waited for something of their own, such as a locked product.
    const usualMs = median(this.waitsMs);
    this.changeCount(usualMs);
    // What is decided until then was accepted before the change.
    this.windowBeginsAt = now + usualMs;
    this.waitsMs = [];
  }

  private changeCount(waitedMs: number): void {
    const { most, logger } = this.options;
    const before = this.count;
    this.count = Math.min(most, Math.max(Math.round(next(before, waitedMs)), fewest));
    const fields = { places: this.count, most, waitedMs: Math.round(waitedMs) };
    if (before === most && this.count < most) {
      logger.warn(fields, 'changes wait too long for a worker; fewer are accepted at once');
    }
    if (before < most && this.count === most) {
      logger.info(fields, 'changes no longer wait; as many as configured are accepted at once');
    }
  }

  private now(): number {
    return (this.options.now ?? performance.now.bind(performance))();
  }
}

function next(count: number, waitedMs: number): number {
  if (waitedMs > longWaitMs) return count * Math.max(longWaitMs / waitedMs, 0.5);
  return waitedMs < noWaitMs ? count * 1.5 : count + 2;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
}
