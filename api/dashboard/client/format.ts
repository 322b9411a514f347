/** Formats numbers, times and bytes for people. */
import type { EncodedBytes } from './api-types';

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const oneDigit = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const dateAndClock = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** A count. */
export function formatCount(count: number): string {
  return whole.format(count);
}

/** Events per second. */
export function formatRate(perSecond: number): string {
  return perSecond < 100 ? oneDigit.format(perSecond) : whole.format(perSecond);
}

/** A duration in ms, as ms, s, min or h. A dash where there is none. */
export function formatDuration(ms: number | null): string {
  if (ms === null) return '–';
  if (ms < 999.5) return `${whole.format(ms)} ms`;
  if (ms < 60_000) return `${oneDigit.format(ms / 1_000)} s`;
  if (ms < 3_600_000) return `${oneDigit.format(ms / 60_000)} min`;
  return `${oneDigit.format(ms / 3_600_000)} h`;
}

/** How long something still lasts, as minutes and seconds. */
export function formatCountdown(ms: number): string {
  const seconds = Math.max(Math.ceil(ms / 1_000), 0);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** A time of today as a clock shows it. */
export function formatClock(time: string | number | Date): string {
  return clock.format(new Date(time));
}

/** A time with its date, where it was not today. */
export function formatTime(time: string | number | Date, now = new Date()): string {
  const date = new Date(time);
  return date.toDateString() === now.toDateString()
    ? clock.format(date)
    : dateAndClock.format(date);
}

/** The bytes themselves. */
export function decodeBytes(encoded: EncodedBytes): Uint8Array {
  if ('text' in encoded) return new TextEncoder().encode(encoded.text);
  return Uint8Array.from(atob(encoded.base64), (character) => character.charCodeAt(0));
}

/** The bytes as text; what is no text becomes a mark, and a control character its picture. */
export function bytesAsText(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes);
  // eslint-disable-next-line no-control-regex -- they are what it looks for
  return text.replace(/[\0-\x08\v-\x1f]/g, (control) =>
    String.fromCodePoint(controlPictures + control.charCodeAt(0)),
  );
}

const controlPictures = 0x2400;

/** A hex dump: offset, bytes in hexadecimal, ASCII. */
export function hexDump(bytes: Uint8Array, perLine: number): string {
  const lines: string[] = [];
  for (let start = 0; start < bytes.length; start += perLine) {
    const line = [...bytes.subarray(start, start + perLine)];
    const hex = line.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
    const text = line.map((byte) =>
      byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·',
    );
    const offset = start.toString(16).padStart(4, '0');
    lines.push(`${offset}  ${hex.padEnd(perLine * 3 - 1)}  ${text.join('')}`);
  }
  return lines.join('\n');
}
