/** How an event type is declared: one file in `types/` each. */
import type { z } from 'zod';
import type { EventTopic } from './topics';

/** Everything that is fixed about an event type. All else about it follows from this. */
export interface EventDefinition<
  Type extends string = string,
  Data extends z.ZodObject = z.ZodObject,
> {
  /** Its name: what has happened, in the past tense. */
  readonly type: Type;
  /** Its topic; on another it is parked. Events of one aggregate share a topic, or have no order. */
  readonly topic: EventTopic;
  /** The field of its data that names its aggregate: equal to the envelope's `subject` and the message's key. */
  readonly aggregate: string;
  /** What has happened, in a sentence, for the AsyncAPI document. */
  readonly summary: string;
  /**
   * The schema of its data, by version. Tolerant reader: unknown fields are kept and ignored, so that a
   * producer can add one without a new version. A breaking change gets a version beside the old.
   */
  readonly versions: { readonly 1: Data } & Readonly<Record<number, z.ZodObject>>;
  /** Valid data with every known field: for the documents, and for tests. */
  readonly example: NoInfer<z.infer<Data>>;
  /** What this event says beside its type, in a line, for the dashboard; empty where that says it all. */
  describe(data: NoInfer<z.infer<Data>>): string;
  /**
   * IDs of the products whose cached detail this event makes stale. Decided from the event alone, so it
   * is right in any order and for duplicates; {@link none} where it changes nothing that is shown.
   */
  staleDetails(data: NoInfer<z.infer<Data>>): readonly string[];
}

/** The names of the fields that are always there, and text. */
type RequiredText<Data> = {
  [Name in keyof Data & string]: Data[Name] extends string ? Name : never;
}[keyof Data & string];

/** For {@link EventDefinition.staleDetails}: no product's detail shows anything of the event. */
export const none = (): readonly string[] => [];

/** Declares an event type. `npm run generate` registers its file. */
export function defineEvent<const Type extends string, Data extends z.ZodObject>(
  definition: EventDefinition<Type, Data> & { readonly aggregate: RequiredText<z.infer<Data>> },
): EventDefinition<Type, Data> {
  return definition;
}
