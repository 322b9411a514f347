/** Reading arguments that are numbers. */
import { InvalidArgumentError } from 'commander';

/** A whole number from 1 up. @throws InvalidArgumentError */
export function positiveInteger(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a whole number from 1 up.');
}

/** A whole number from 0 up. @throws InvalidArgumentError */
export function wholeNumber(text: string): number {
  return text === '0' ? 0 : positiveInteger(text);
}

/** Collects the values of an argument that may come several times. @throws InvalidArgumentError */
export function positiveIntegers(text: string, before: readonly number[] | undefined): number[] {
  return [...(before ?? []), positiveInteger(text)];
}
