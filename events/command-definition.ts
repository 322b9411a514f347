/**
 * What a command is: the fields that it takes, the workflow that decides it, and what Temporal's Web UI
 * says of it. Its types, the ID of its workflow, and the IDs that no event may have follow from that.
 */
import type { z } from 'zod';

/** A command. Idempotent by its key: it is decided once, and a retry returns the same outcome. */
export interface CommandDefinition<
  Name extends string,
  Input extends z.ZodObject,
  Outcome extends object,
  Key extends keyof z.output<Input> = keyof z.output<Input>,
> extends CommandDescription<Name, Input, Key> {
  /** The ID of its workflow. */
  workflowId(command: Readonly<Pick<z.output<Input>, Key>>): string;
  /** The ID of the aggregate that it changes. */
  aggregateId(command: Readonly<z.output<Input>>): string;
  /** Never set: the type of its outcome. */
  readonly outcome?: Outcome;
}

/** What there is to say of a command. */
interface CommandDescription<Name extends string, Input extends z.ZodObject, Key> {
  /** Its name, and the type of its workflow. */
  readonly name: Name;
  /**
   * What the IDs of its workflows begin with; its key follows. No event may have such an ID, since an
   * event's workflow has the event's ID.
   */
  readonly workflowIdPrefix: `${string}-`;
  /** Its fields. */
  readonly input: Input;
  /** The field that tells it from all others of its name: a retry has the same. */
  readonly key: Key;
  /** The field that names the aggregate that it changes. */
  readonly aggregate: TextField<Input>;
  /** What the Web UI says of its workflow beside the ID. */
  summary(command: Readonly<z.output<Input>>): string;
}

/** The fields of a schema that are text. */
type TextField<Input extends z.ZodObject> = {
  [Field in keyof z.output<Input>]: z.output<Input>[Field] extends string ? Field : never;
}[keyof z.output<Input>];

/** Defines a command that is decided with an `Outcome`: `defineCommand<StockOutcome>()({ … })`. */
export function defineCommand<Outcome extends object>() {
  return <const Name extends string, Input extends z.ZodObject, Key extends TextField<Input>>(
    description: CommandDescription<Name, Input, Key>,
  ): CommandDefinition<Name, Input, Outcome, Key> => ({
    ...description,
    workflowId: (command) => description.workflowIdPrefix + String(command[description.key]),
    aggregateId: (command) => String(command[description.aggregate]),
  });
}
