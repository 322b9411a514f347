/**
 * Live feed of handled events for any number of followers. One loop polls PostgreSQL while there is a
 * follower; what it finds is buffered and shared by all followers.
 *
 * A follower keeps its own place and takes the next step when it is ready for it. One that is slow,
 * or comes back with the place where it was cut off, reads what it has missed from PostgreSQL, a page
 * at a time: so nothing waits in memory for it, and nothing is skipped or repeated.
 */
import type { Logger } from '../../platform/observability/logger';
import {
  isAheadOf,
  placeOf,
  type HandledEvent,
  type HandledEventReads,
  type HandledPosition,
  type HandledStep,
  type PlacedEvent,
} from './handled-events';
import { Problem } from '../http/problem';

/** A message to a follower. */
export type FeedMessage =
  /** Everything behind `position` will come. */
  | {
      readonly kind: 'ready';
      readonly position: HandledPosition;
      /** What was handled right before it, the oldest first. */
      readonly recent: readonly HandledEvent[];
      /** Whether the position to resume from was of another database and is ignored. */
      readonly anew: boolean;
    }
  | { readonly kind: 'handled'; readonly events: readonly PlacedEvent[] }
  /** PostgreSQL is unavailable since then; events handled meanwhile follow later. */
  | { readonly kind: 'away'; readonly since: Date }
  | { readonly kind: 'back' }
  /** Heartbeat: no event for a while. */
  | { readonly kind: 'quiet' };

/** What to follow. */
interface FollowOptions {
  /** Position to resume from; default: now. */
  readonly after?: HandledPosition | undefined;
  /** How many earlier events to start with, when it starts now. */
  readonly recent?: number;
  /** Ends the feed to this follower. */
  readonly signal: AbortSignal;
}

/** Handled events as they come. */
export interface HandledEventFeed {
  /** Follows until the signal or the feed's end. @throws Problem 503 at once, when too many follow */
  follow(options: FollowOptions): AsyncGenerator<FeedMessage, void>;
  /** Ends every follower and the loop. */
  stop(): void;
}

/** Options of the feed. */
export interface FeedOptions {
  /** Poll interval in ms. */
  readonly pollMs?: number;
  /** Most followers at once. */
  readonly maxFollowers?: number;
  /** Most events per query. */
  readonly pageSize?: number;
  /** Most buffered events. */
  readonly maxKeptEvents?: number;
  /** Heartbeat interval in ms. */
  readonly quietAfterMs?: number;
}

/** A feed on the reads. */
export function createHandledEventFeed(
  reads: HandledEventReads,
  logger: Logger,
  options: FeedOptions = {},
): HandledEventFeed {
  return new SharedFeed(reads, logger, {
    pollMs: options.pollMs ?? 500,
    maxFollowers: options.maxFollowers ?? 64,
    pageSize: options.pageSize ?? 500,
    maxKeptEvents: options.maxKeptEvents ?? 5_000,
    quietAfterMs: options.quietAfterMs ?? 2_000,
  });
}

/** A step of the loop, for followers at its start. */
interface KeptStep extends HandledStep {
  readonly from: string;
}

// Steps without events are kept too, since they advance the position.
const maxKeptSteps = 200;

class SharedFeed implements HandledEventFeed {
  private followers = 0;
  private stopped = false;
  private looping: Promise<void> | undefined;
  private lookUnderWay = false;
  private finishedLooks = 0;
  /** The snapshot up to which the loop has looked, and followers may. */
  private latest: string | undefined;
  private position: HandledPosition | undefined;
  private kept: KeptStep[] = [];
  private awaySince: Date | undefined;
  private readonly sleepers = new Set<() => void>();

  constructor(
    private readonly reads: HandledEventReads,
    private readonly logger: Logger,
    private readonly options: Required<FeedOptions>,
  ) {}

  follow(options: FollowOptions): AsyncGenerator<FeedMessage, void> {
    if (this.followers >= this.options.maxFollowers) throw tooManyFollowers();
    this.followers += 1;
    // A generator's finally runs only once it has started: a follower that leaves before is counted here.
    let begun = false;
    options.signal.addEventListener('abort', () => {
      if (!begun) this.leave();
    });
    // Only a look that begins from now on is surely behind a place that another process has given.
    const freshLook = this.finishedLooks + (this.lookUnderWay ? 2 : 1);
    this.looping ??= this.loop();
    return this.tell(options, freshLook, () => (begun = true));
  }

  stop(): void {
    this.stopped = true;
    this.wakeAll();
  }

  private async *tell(
    options: FollowOptions,
    freshLook: number,
    begin: () => void,
  ): AsyncGenerator<FeedMessage, void> {
    if (options.signal.aborted) return;
    begin();
    try {
      const position = yield* this.begin(options, freshLook);
      if (position !== undefined) yield* this.goOn(position, options.signal);
    } finally {
      this.leave();
    }
  }

  private leave(): void {
    this.followers -= 1;
    if (this.followers === 0) this.wakeAll();
  }

  private async *begin(
    { after, recent = 0, signal }: FollowOptions,
    freshLook: number,
  ): AsyncGenerator<FeedMessage, HandledPosition | undefined> {
    return yield* this.tellUntil(signal, async () => {
      const { latest } = this;
      const tooEarly = after !== undefined && this.finishedLooks < freshLook;
      if (latest === undefined || tooEarly) return undefined;
      const anew = after !== undefined && isAheadOf(after, latest);
      const position = after === undefined || anew ? placeOf(latest) : after;
      const before = after === undefined ? await this.reads.readLast(latest, recent) : [];
      const message = { kind: 'ready', position, recent: before, anew } as const;
      return { message, result: position };
    });
  }

  private async *goOn(start: HandledPosition, signal: AbortSignal): AsyncGenerator<FeedMessage> {
    let position = start;
    yield* this.tellUntil(signal, async () => {
      for (;;) {
        const step = await this.stepBehind(position);
        if (step === undefined) return undefined;
        position = step.to;
        if (step.events.length > 0) return { message: { kind: 'handled', events: step.events } };
      }
    });
  }

  /**
   * Tells what `next` gives, until it gives a result. When it gives nothing, or fails, it is asked
   * again after the loop's next look; meanwhile outages and silence are told.
   */
  private async *tellUntil<Result>(
    signal: AbortSignal,
    next: () => Promise<{ message: FeedMessage; result?: Result } | undefined>,
  ): AsyncGenerator<FeedMessage, Result | undefined> {
    let toldAway = false;
    let toldAt = Date.now();
    while (!this.stopped && !signal.aborted) {
      const { awaySince } = this;
      const found = awaySince === undefined ? await this.orNothing(next) : undefined;
      const outage = this.outageNews(toldAway);
      toldAway = this.awaySince !== undefined;
      const silent = Date.now() - toldAt >= this.options.quietAfterMs;
      const message = found?.message ?? outage ?? (silent ? quiet : undefined);
      if (found !== undefined && outage !== undefined) yield outage;
      if (message === undefined) {
        await this.untilNextLook(signal);
        continue;
      }
      yield message;
      toldAt = Date.now();
      if (found?.result !== undefined) return found.result;
    }
    return undefined;
  }

  private outageNews(toldAway: boolean): FeedMessage | undefined {
    const { awaySince } = this;
    if (awaySince === undefined) return toldAway ? { kind: 'back' } : undefined;
    return toldAway ? undefined : { kind: 'away', since: awaySince };
  }

  // The next poll of the loop detects an outage.
  private async orNothing<Found>(next: () => Promise<Found>): Promise<Found | undefined> {
    try {
      return await next();
    } catch (error) {
      this.logger.debug({ err: error }, 'reading handled events for a stream failed');
      return undefined;
    }
  }

  private async stepBehind(position: HandledPosition): Promise<HandledStep | undefined> {
    const key = keyOf(position);
    const kept = this.kept.find(({ from }) => from === key);
    if (kept !== undefined || this.latest === undefined) return kept;
    return this.reads.readBehind(position, this.latest, this.options.pageSize);
  }

  private async loop(): Promise<void> {
    while (this.followers > 0 && !this.stopped) {
      this.lookUnderWay = true;
      await this.look();
      this.lookUnderWay = false;
      this.finishedLooks += 1;
      this.wakeAll();
      await this.sleep(this.options.pollMs, () => this.followers === 0 || this.stopped);
    }
    this.forget();
  }

  // No followers: the buffer would be stale for the next one.
  private forget(): void {
    this.looping = undefined;
    this.latest = undefined;
    this.position = undefined;
    this.awaySince = undefined;
    this.kept = [];
  }

  private async look(): Promise<void> {
    try {
      await this.takeSteps(await this.reads.takeSnapshot());
      if (this.awaySince !== undefined)
        this.logger.info('PostgreSQL available again; streams resume');
      this.awaySince = undefined;
    } catch (error) {
      if (this.awaySince === undefined) {
        this.logger.warn({ err: error }, 'reading handled events failed; streams wait and retry');
      }
      this.awaySince ??= new Date();
    }
  }

  private async takeSteps(snapshot: string): Promise<void> {
    this.position ??= placeOf(snapshot);
    // Before its steps are read: one of them may fail, and a follower must never stand behind it.
    this.latest = snapshot;
    for (;;) {
      const step = await this.reads.readBehind(this.position, snapshot, this.options.pageSize);
      if (step === undefined) break;
      this.keep({ from: keyOf(this.position), ...step });
      this.position = step.to;
    }
  }

  private keep(step: KeptStep): void {
    this.kept.push(step);
    let events = this.kept.reduce((sum, each) => sum + each.events.length, 0);
    while (this.kept.length > maxKeptSteps || events > this.options.maxKeptEvents) {
      events -= this.kept.shift()?.events.length ?? 0;
    }
  }

  private async untilNextLook(signal: AbortSignal): Promise<void> {
    const wakeUp = (): void => this.wakeAll();
    signal.addEventListener('abort', wakeUp);
    // A poll may have ended since this follower asked: then it waits for the next one.
    await this.sleep(this.options.quietAfterMs, () => this.stopped || signal.aborted);
    signal.removeEventListener('abort', wakeUp);
  }

  /** Sleeps until it is wakened, at most `ms`; not at all if there is a reason not to. */
  private async sleep(ms: number, mayNot: () => boolean): Promise<void> {
    if (mayNot()) return;
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.sleepers.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.sleepers.add(wake);
    });
  }

  private wakeAll(): void {
    for (const wake of this.sleepers) wake();
  }
}

const quiet: FeedMessage = { kind: 'quiet' };

function keyOf({ since, until, transaction, eventId }: HandledPosition): string {
  return `${since} ${until} ${transaction} ${eventId}`;
}

function tooManyFollowers(): Problem {
  return new Problem('TOO_MANY_STREAMS');
}
