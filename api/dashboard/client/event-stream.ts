/**
 * The stream of handled events: it reconnects and resumes where it broke, without gaps or repeats.
 * `EventSource` cannot send an API key; this can.
 */
import { ApiError, type Api } from './api';
import type { HandledEvent, StreamedData } from './api-types';
import { createEventReader, type ServerSentEvent } from './server-sent-events';

/** How the stream is doing. */
export type StreamStatus =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  /** Since when nothing comes, in ms since 1970. */
  | { readonly kind: 'interrupted'; readonly since: number; readonly reason: string };

/** What the stream says, in the order in which it is to be taken; nothing of it in a heartbeat. */
export interface StreamNews {
  /** The stream starts over: there may be a gap after the earlier events. */
  readonly anew?: true;
  readonly status?: StreamStatus;
  /** The oldest first. */
  readonly events?: readonly HandledEvent[];
}

/** Where to resume. */
export interface StreamPlace {
  /** Undefined: from now on. */
  lastEventId: string | undefined;
  /** When the stream was there, in ms since 1970. */
  at: number;
}

/** A stream that says nothing for so long is dead: the server sends something every two seconds. */
export const silentAfterMs = 5_000;

/** The status of a stream that was last heard of at `since`. */
export function silentSince(since: number): StreamStatus {
  return { kind: 'interrupted', since, reason: new SilentError().message };
}

const retryDelaysMs = [250, 500, 1_000, 2_000, 4_000];
// After a longer break, such as a night's sleep, the page starts afresh instead of catching up.
const resumesWithinMs = 10 * 60_000;

/** Keeps the stream open until the signal ends it. @param place is kept up to date */
export async function followEvents(
  api: Api,
  place: StreamPlace,
  onNews: (news: StreamNews) => void,
  signal: AbortSignal,
): Promise<void> {
  let failures = 0;
  let brokenAt: number | undefined;
  while (!signal.aborted) {
    try {
      if (Date.now() - place.at > resumesWithinMs) place.lastEventId = undefined;
      if (place.lastEventId === undefined) onNews({ anew: true });
      await readOnce(api, place, signal, (news) => {
        if (news.status?.kind === 'live') {
          failures = 0;
          brokenAt = undefined;
        }
        onNews(news);
      });
    } catch (error) {
      if (signal.aborted) return;
      // The position is not of this installation.
      if (error instanceof ApiError && error.status === 400) place.lastEventId = undefined;
      brokenAt ??= error instanceof SilentError ? place.at : Date.now();
      onNews({ status: { kind: 'interrupted', since: brokenAt, reason: reasonOf(error) } });
    }
    const delay = retryDelaysMs[Math.min(failures, retryDelaysMs.length - 1)] ?? 0;
    failures += 1;
    await sleep(delay, signal);
  }
}

async function readOnce(
  api: Api,
  place: StreamPlace,
  signal: AbortSignal,
  onNews: (news: StreamNews) => void,
): Promise<void> {
  const silence = new AbortController();
  const ended = AbortSignal.any([signal, silence.signal]);
  const endSilent = (): void => silence.abort(new SilentError());
  // An API that hangs does not answer at all.
  let timer = setTimeout(endSilent, silentAfterMs);
  try {
    const response = await api.open('/v1/stream?recent=50', place.lastEventId, ended);
    const pieces = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    const read = createEventReader();
    while (pieces !== undefined) {
      const { done, value } = await pieces.read();
      if (done) throw new Error('the API closed the stream');
      clearTimeout(timer);
      timer = setTimeout(endSilent, silentAfterMs);
      place.at = Date.now();
      onNews(take(read(value), place));
    }
  } catch (error) {
    // What a reader throws does not name the reason.
    throw silence.signal.aborted ? silence.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

function take(streamed: readonly ServerSentEvent[], place: StreamPlace): StreamNews {
  const events: HandledEvent[] = [];
  let anew = false;
  let status: StreamStatus | undefined;
  for (const { type, data, id } of streamed) {
    if (id !== undefined) place.lastEventId = id;
    if (type === 'handled') events.push(JSON.parse(data) as HandledEvent);
    if (type === 'outage') {
      const { since } = JSON.parse(data) as StreamedData['outage'];
      status =
        since === null
          ? { kind: 'live' }
          : { kind: 'interrupted', since: Date.parse(since), reason: 'PostgreSQL is unavailable' };
    }
    if (type === 'ready') {
      anew ||= (JSON.parse(data) as StreamedData['ready']).anew;
      status = { kind: 'live' };
    }
  }
  return {
    ...(anew ? { anew } : {}),
    ...(status === undefined ? {} : { status }),
    ...(events.length === 0 ? {} : { events }),
  };
}

/** The stream has said nothing for so long that it may be dead. */
class SilentError extends Error {
  override readonly name = 'SilentError';

  constructor() {
    super(`no heartbeat for ${silentAfterMs / 1_000} s`);
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof SilentError) return error.message;
  if (error instanceof ApiError) return error.message.replace(/\.$/, '');
  return error instanceof Error && error.message.startsWith('the API')
    ? error.message
    : 'the connection was lost';
}

async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const wake = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', wake);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    signal.addEventListener('abort', wake);
  });
}
