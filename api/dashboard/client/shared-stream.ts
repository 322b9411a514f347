/**
 * One stream of handled events for all tabs of a browser: over HTTP/1.1 it opens six connections to a host, so
 * that a stream for each tab would leave none for anything else.
 *
 * The tab that holds a lock has the stream, and tells the others what it says. The lock ends with its tab, and
 * the next one that waits for it resumes where it has itself heard of last. What another tab has heard beyond
 * that comes twice, and is told apart by its ID; what it has not heard is in what the next tab tells at first.
 * A tab that is frozen keeps its lock and says nothing: after five seconds another one takes that from it.
 */
import type { Api } from './api';
import type { HandledEvent } from './api-types';
import {
  followEvents,
  silentAfterMs,
  silentSince,
  type StreamNews,
  type StreamPlace,
  type StreamStatus,
} from './event-stream';

/** Between tabs. */
type Message =
  /** Somebody who has heard nothing yet asks for everything. */
  | { readonly kind: 'hello' }
  | {
      readonly kind: 'news';
      /** Which tab says so, and since when it has the stream, in ms since 1970. */
      readonly from: string;
      readonly since: number;
      /** Whether this is all that the tab knows, instead of what is new. */
      readonly whole: boolean;
      readonly anew: boolean;
      readonly status: StreamStatus;
      readonly events: readonly HandledEvent[];
      /** Where the stream is behind these events. */
      readonly lastEventId: string | undefined;
    };

/** Events that are kept, to be told from repeats, and for those who come later: more than a page lists. */
const keptEvents = 500;

/** How often the tab with the stream says that it is there, also while the stream says nothing. */
const heartbeatMs = 2_000;

/**
 * Follows the stream until the signal ends it, together with the other tabs of this operator and this version
 * of the page. Alone where the browser has no locks, as over plain HTTP from another host.
 *
 * @param onNews never gets an event twice, unless the stream starts anew
 */
export function shareEvents(
  api: Api,
  operator: string,
  onNews: (news: StreamNews) => void,
  signal: AbortSignal,
): void {
  const place: StreamPlace = { lastEventId: undefined, at: Date.now() };
  if (!('locks' in navigator)) {
    void followEvents(api, place, onNews, signal);
    return;
  }
  // The script's address changes with its version.
  const name = `events of ${operator}, ${document.scripts[0]?.src ?? ''}`;
  void takeTurns(api, name, place, createMemory(onNews), signal);
}

async function takeTurns(
  api: Api,
  name: string,
  place: StreamPlace,
  memory: Memory,
  signal: AbortSignal,
): Promise<void> {
  const channel = new BroadcastChannel(name);
  const self = crypto.randomUUID();
  const silence = createSilence();
  /** The tab that has the stream, and since when. */
  let leader: string | undefined;
  let since = 0;

  const say = (message: Message): void => channel.postMessage(message);
  const tell = (news: StreamNews, whole = false): void => {
    say({
      ...{ kind: 'news', from: self, since, whole, anew: news.anew === true },
      ...{ status: memory.status(), events: news.events ?? [], lastEventId: place.lastEventId },
    });
  };
  const tellAll = (): void => tell({ events: memory.events() }, true);

  channel.addEventListener('message', ({ data }: MessageEvent<Message>) => {
    if (data.kind === 'hello') {
      if (leader === self) tellAll();
      return;
    }
    // A tab whose turn is over may still say something, such as one that was frozen.
    if (leader === self || data.since < since || (data.from !== leader && !data.whole)) return;
    leader = data.from;
    since = data.since;
    place.lastEventId = data.lastEventId;
    place.at = Date.now();
    silence.heard();
    const { anew, status, events } = data;
    memory.take({ ...(anew ? { anew } : {}), status, events });
  });

  const lead = async (over: AbortSignal): Promise<void> => {
    silence.stop();
    leader = self;
    since = Date.now();
    tellAll();
    const heartbeat = setInterval(() => tell({}), heartbeatMs);
    const takeAndTell = (news: StreamNews): void => tell(memory.take(news));
    await followEvents(api, place, takeAndTell, over);
    clearInterval(heartbeat);
  };

  let takesIt = false;
  while (!signal.aborted) {
    const waiting = new AbortController();
    const leading = new AbortController();
    silence.watch(() => {
      memory.take({ status: silentSince(place.at) });
      waiting.abort();
    });
    say({ kind: 'hello' });
    const options = takesIt
      ? { steal: true }
      : { signal: AbortSignal.any([signal, waiting.signal]) };
    const over = AbortSignal.any([signal, leading.signal]);
    try {
      await navigator.locks.request(name, options, () => lead(over));
    } catch (error) {
      // The wait is over, or another tab takes the lock. Otherwise this page may have none.
      if ((error as Error).name !== 'AbortError') await lead(over);
    }
    leading.abort();
    takesIt = waiting.signal.aborted;
    if (leader === self) leader = undefined;
  }
  silence.stop();
  channel.close();
}

/** What a tab knows of the stream. */
interface Memory {
  status(): StreamStatus;
  /** The last ones, the oldest first. */
  events(): readonly HandledEvent[];
  /** Passes on what is new in it. @returns that */
  take(news: StreamNews): StreamNews;
}

function createMemory(onNews: (news: StreamNews) => void): Memory {
  let status: StreamStatus = { kind: 'connecting' };
  let events = new Map<string, HandledEvent>();
  return {
    status: () => status,
    events: () => [...events.values()],
    take(news) {
      if (news.anew === true) events.clear();
      const unknown = (news.events ?? []).filter(({ eventId }) => !events.has(eventId));
      for (const event of unknown) events.set(event.eventId, event);
      if (events.size > keptEvents) events = new Map([...events].slice(-keptEvents));
      const isChanged = news.status !== undefined && !isSame(news.status, status);
      status = news.status ?? status;
      const fresh: StreamNews = {
        ...(news.anew === true ? { anew: true } : {}),
        ...(isChanged ? { status } : {}),
        ...(unknown.length === 0 ? {} : { events: unknown }),
      };
      if (Object.keys(fresh).length > 0) onNews(fresh);
      return fresh;
    },
  };
}

function isSame(one: StreamStatus, other: StreamStatus): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Notices that the tab with the stream says nothing. */
interface Silence {
  watch(onSilent: () => void): void;
  heard(): void;
  stop(): void;
}

function createSilence(): Silence {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let onSilent = (): void => undefined;
  const heard = (): void => {
    clearTimeout(timer);
    // Not all tabs at once, so that the first one of them is heard by the others.
    timer = setTimeout(() => onSilent(), silentAfterMs - Math.random() * 500);
  };
  return {
    watch(then) {
      onSilent = then;
      heard();
    },
    heard,
    stop: () => clearTimeout(timer),
  };
}
