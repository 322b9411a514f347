/** The story and what happened disagree. */

/** A step of the story is not as told, or did not come to its end. */
export class StoryError extends Error {
  override readonly name = 'StoryError';
  readonly code = 'STORY_NOT_AS_TOLD';

  /**
   * @param step number and title of the step, as printed
   * @param cause what is not as told
   */
  constructor(step: string, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super(`The story failed in step ${step}: ${reason}`, { cause });
  }
}
