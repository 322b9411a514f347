/** State of a signed-in operator: the stream, its events and rates, and the settings. */
import type { Api } from './api';
import type { HandledEvent, Rates, Settings, Status } from './api-types';
import { createEventRates, type EventRates } from './event-rates';
import type { StreamStatus } from './event-stream';
import { poll, type Reading } from './polling';
import { shareEvents } from './shared-stream';

/** An operator's session. */
export interface Session {
  readonly api: Api;
  readonly settings: Settings;
  readonly stream: StreamStatus;
  /** The last events that were handled, the newest first. */
  readonly events: readonly HandledEvent[];
  readonly rates: EventRates;
  /** Whether the rates of before have been read. */
  readonly ratesAre: 'unknown' | 'known';
  /** How the system is. */
  readonly status: Reading<Status>;
  /** Draws the page again, soon. */
  redraw(): void;
  end(): void;
}

/** How many events are kept for the list. */
const keptEvents = 200;

// The server's counts correct those of the stream.
const recountEveryMs = 30_000;

// The API answers within less, whatever hangs behind it.
const statusWithinMs = 5_000;

/** Starts a session. @param redraw called after each change */
export function beginSession(api: Api, settings: Settings, redraw: () => void): Session {
  const ended = new AbortController();
  const rates = createEventRates();
  let stream: StreamStatus = { kind: 'connecting' };
  let events: HandledEvent[] = [];
  // What nobody has counted is unknown: before the server has been asked, and while nothing is streamed.
  const noteGap = (): void => {
    if (stream.kind === 'interrupted') rates.interrupt(stream.since);
    else if (counts.data === undefined) rates.interrupt(0);
    else rates.resume();
  };
  const counts = poll(
    recountEveryMs,
    () => readRates(api, rates),
    () => {
      noteGap();
      redraw();
    },
  );
  noteGap();
  const status = poll(2_000, () => api.get<Status>('/v1/status', statusWithinMs), redraw);
  const noteStatus = (now: StreamStatus): void => {
    const isBack = now.kind === 'live' && stream.kind === 'interrupted';
    stream = now;
    noteGap();
    if (isBack) void counts.refresh();
  };
  const noteEvents = (handled: readonly HandledEvent[]): void => {
    for (const { occurredAt, handledAt } of handled) {
      rates.add(Date.parse(handledAt), Date.parse(handledAt) - Date.parse(occurredAt));
    }
    events = [...handled.toReversed(), ...events].slice(0, keptEvents);
  };
  shareEvents(
    api,
    settings.operator,
    (news) => {
      if (news.anew === true) {
        events = [];
        void counts.refresh();
      }
      if (news.status !== undefined) noteStatus(news.status);
      if (news.events !== undefined) noteEvents(news.events);
      redraw();
    },
    ended.signal,
  );
  return {
    api,
    settings,
    rates,
    status,
    redraw,
    get stream() {
      return stream;
    },
    get events() {
      return events;
    },
    get ratesAre() {
      return counts.data === undefined ? 'unknown' : 'known';
    },
    end() {
      ended.abort();
      for (const reading of [counts, status]) reading.stop();
    },
  };
}

async function readRates(api: Api, rates: EventRates): Promise<true> {
  const { seconds, items } = await api.get<Rates>('/v1/metrics/rates');
  rates.replace(
    items.map((item) => ({ ...item, at: Date.parse(item.at) })),
    seconds * 1_000,
  );
  return true;
}
