/** Pieces of the schemas that routes check their input with. */
import { z } from 'zod';

/**
 * Text that PostgreSQL can keep as it is: no NUL, which it refuses, and no half of a surrogate pair,
 * which it would change.
 *
 * @param maxLength most characters, of at least one
 */
export function storableText(maxLength: number) {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .refine((text) => !/\0|\p{Surrogate}/u.test(text), 'must not contain NUL or broken Unicode');
}
