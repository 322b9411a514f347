/** Parsers of numbers and times. */
import { InvalidArgumentError } from 'commander';

/** An integer of at least 1. @throws InvalidArgumentError */
export function positiveInteger(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a whole number of at least 1.');
}

/** An integer of at least 0. @throws InvalidArgumentError */
export function wholeNumber(text: string): number {
  return text === '0' ? 0 : positiveInteger(text);
}

/** Collects the values of a repeatable argument. @throws InvalidArgumentError */
export function positiveIntegers(text: string, before: readonly number[] | undefined): number[] {
  return [...(before ?? []), positiveInteger(text)];
}

/** A time in RFC 3339, or a day, which begins in UTC. @throws InvalidArgumentError */
export function time(text: string): Date {
  const read = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/i.test(text)
    ? new Date(text)
    : undefined;
  if (read !== undefined && !Number.isNaN(read.getTime())) return read;
  throw new InvalidArgumentError('It must be a time such as 2026-01-31T09:30:00Z.');
}
