/**
 * Parses untrusted JSON: what PostgreSQL's jsonb or JavaScript's numbers would reject or silently
 * change is rejected here, with a code.
 */
import { InvalidEventError } from './errors';

// Deeper than any event of ours by far; far less than what overflows a recursive reader behind us.
const maxDepth = 64;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The JSON value that the bytes spell.
 *
 * @throws InvalidEventError `NOT_UTF8`, `NOT_JSON`, or `UNSTORABLE_JSON` for text with NUL or lone
 * surrogates, integers past 2^53, numbers past what a double holds, and nesting deeper than 64
 */
export function readJson(bytes: Uint8Array): unknown {
  const value = parse(decode(bytes));
  rejectUnstorable(value);
  return value;
}

function decode(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes);
  } catch (cause) {
    throw new InvalidEventError('NOT_UTF8', 'The value is not UTF-8 text.', undefined, { cause });
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InvalidEventError('NOT_JSON', 'The value is not JSON.', undefined, { cause });
  }
}

// Iterative: a value that is nested too deeply must be rejected, not overflow the stack.
function rejectUnstorable(root: unknown): void {
  const open: Place[] = [{ value: root, depth: 0 }];
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    const { value, depth } = place;
    if (depth > maxDepth) throw unstorable(place, `is nested deeper than ${maxDepth} levels`);
    if (typeof value === 'string') rejectText(value, place);
    else if (typeof value === 'number') rejectNumber(value, place);
    else if (typeof value === 'object' && value !== null) {
      for (const [name, child] of Object.entries(value)) {
        rejectText(name, place);
        open.push({ value: child, name, parent: place, depth: depth + 1 });
      }
    }
  }
}

/** A nested value; its path is built only for an error message. */
interface Place {
  readonly value: unknown;
  readonly name?: string;
  readonly parent?: Place;
  readonly depth: number;
}

function pathOf({ name, parent }: Place): string[] {
  return name === undefined || parent === undefined ? [] : [...pathOf(parent), name];
}

function rejectText(text: string, place: Place): void {
  if (text.includes('\0')) throw unstorable(place, 'contains a NUL character');
  if (!text.isWellFormed()) throw unstorable(place, 'contains half of a surrogate pair');
}

function rejectNumber(value: number, place: Place): void {
  if (!Number.isFinite(value)) throw unstorable(place, 'is a number beyond the range of a double');
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    throw unstorable(place, 'is an integer beyond 2^53, which cannot be stored exactly');
  }
}

function unstorable(place: Place, what: string): InvalidEventError {
  const field = pathOf(place).join('.').replaceAll('\0', '\\0').slice(0, 200);
  return new InvalidEventError(
    'UNSTORABLE_JSON',
    `${field === '' ? 'The value' : `Field ${field}`} ${what}.`,
    field,
  );
}
