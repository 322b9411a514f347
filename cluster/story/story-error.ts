/** The error of a failed story. */

/** A step of the story failed. */
export class StoryError extends Error {
  override readonly name = 'StoryError';
  readonly code = 'STORY_NOT_AS_TOLD';

  /**
   * @param step number and title of the step, as printed
   * @param cause the failed assertion
   */
  constructor(step: string, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`The story failed in step ${step}: ${reason}`, { cause });
  }
}
