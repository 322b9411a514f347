/** The schema of texts that commands and requests carry. */
import { z } from 'zod';

/**
 * Text that PostgreSQL stores unchanged: without NUL, which it rejects, and without lone surrogates,
 * which it would replace.
 *
 * @param maxLength in characters; the minimum is 1
 */
export function storableText(maxLength: number) {
  return z
    .string()
    .min(1)
    .max(maxLength)
    .refine((text) => !/\0|\p{Surrogate}/u.test(text), 'must not contain NUL or broken Unicode');
}
