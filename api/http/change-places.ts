/**
 * How many changes may be under way at once: at most a configured number, and fewer while what is accepted
 * takes so long that it would expire (docs/decisions/0036-places-follow-the-wait.md).
 */
import type { Logger } from '../../platform/observability/logger';

/** The places of changes under way. */
export interface ChangePlaces {
  /** As many as there are now. */
  readonly count: number;
  /** So many changes of operators are accepted, however few places there are and whoever has them. */
  readonly keptForOperators: number;
  /**
   * A change that waits for nothing but its turn has its outcome, or will have none in time.
   *
   * @param beganAt when it was accepted, in ms of `performance.now()`
   */
  answered(beganAt: number): void;
}

/** What the number of places is bounded by, and who is told of it. */
export interface ChangePlacesOptions {
  /** The configured number of places. */
  readonly most: number;
  readonly logger: Pick<Logger, 'info' | 'warn'>;
  /** `performance.now()` by default. */
  readonly now?: () => number;
}

/** With fewer, workers would be idle. */
const fewest = 16;

/** A third of the five seconds after which a command expires. */
const longMs = 1_600;

/** Changes that take no longer hardly wait. */
const shortMs = longMs / 2;

/** For how long, and from how many changes at least, times are gathered. */
const windowMs = 1_000;
const fewestTimes = 5;

/** No change takes longer to be answered. */
const longestMs = 10_000;

/** Whatever is accepted could have told by then; times that are further apart are not of one load. */
const forgottenAfterMs = 1.5 * longestMs;

/** Places that begin with the configured number, and follow what {@link ChangePlaces.answered} is told. */
export function createChangePlaces(options: ChangePlacesOptions): ChangePlaces {
  return new AdaptivePlaces(options);
}

class AdaptivePlaces implements ChangePlaces {
  readonly keptForOperators: number;
  private places: number;
  private heardAt: number;
  private ignoresUntil: number;
  private windowBeganAt: number | undefined;
  private timesMs: number[] = [];
  private isReduced = false;

  constructor(private readonly options: ChangePlacesOptions) {
    this.places = options.most;
    this.keptForOperators = Math.floor(options.most / 8);
    this.heardAt = this.now();
    this.ignoresUntil = this.heardAt;
  }

  get count(): number {
    const { most } = this.options;
    // Where only orders come, or nothing at all, nobody says that it is over.
    if (this.places < most && this.now() - this.heardAt > forgottenAfterMs) this.setPlaces(most);
    return this.places;
  }

  answered(beganAt: number): void {
    const now = this.now();
    if (now - this.heardAt > forgottenAfterMs) this.beginWindow();
    this.heardAt = now;
    if (now < this.ignoresUntil) return;
    this.windowBeganAt ??= now;
    this.timesMs.push(now - beganAt);
    if (now - this.windowBeganAt < windowMs || this.timesMs.length < fewestTimes) return;
    // Some may have waited for something of their own, such as a locked product.
    const usualMs = median(this.timesMs);
    const before = this.places;
    this.setPlaces(next(before, usualMs));
    // What is answered until then was accepted before the number changed.
    if (this.places !== before) this.ignoresUntil = now + Math.min(usualMs, longestMs);
    this.beginWindow();
  }

  private beginWindow(): void {
    this.windowBeganAt = undefined;
    this.timesMs = [];
  }

  private setPlaces(places: number): void {
    const { most, logger } = this.options;
    this.places = Math.min(most, Math.max(Math.round(places), fewest));
    const fields = { places: this.places, most };
    if (!this.isReduced && this.places < most * noticeable) {
      this.isReduced = true;
      logger.warn(fields, 'changes take too long; fewer are accepted at once');
    }
    if (this.isReduced && this.places === most) {
      this.isReduced = false;
      logger.info(fields, 'as many changes as configured are accepted at once again');
    }
  }

  private now(): number {
    return (this.options.now ?? performance.now.bind(performance))();
  }
}

/** Where the number goes up and down a little below the configured one, there is nothing to say. */
const noticeable = 0.75;

function next(places: number, usualMs: number): number {
  if (usualMs > longMs) return places * Math.max(longMs / usualMs, 0.5);
  return usualMs < shortMs ? places * 1.5 : places + 2;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
}
