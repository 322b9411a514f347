/** Parsers of numeric arguments. */
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
