/**
 * What may change in a released version of a schema. Others read and write by it, so a message that
 * was valid stays valid and says what it said: descriptions may change, and fields may be added that
 * nobody has to send. All else takes a new version.
 */

/** A JSON Schema, as far as it is read here. */
export type Schema = Readonly<Record<string, unknown>>;

/** What is incompatible in a schema with the one that was released, a line each; none where all is well. */
export function incompatibilities(released: Schema, current: Schema, path = 'data'): string[] {
  const keywords = new Set([...Object.keys(released), ...Object.keys(current)]);
  return [...keywords]
    .filter((keyword) => !annotations.has(keyword))
    .flatMap((keyword) => compare(keyword, released, current, path));
}

const annotations = new Set(['$schema', '$id', 'title', 'description', 'examples']);

function compare(keyword: string, released: Schema, current: Schema, path: string): string[] {
  switch (keyword) {
    case 'properties':
      return compareProperties(fieldsOf(released), fieldsOf(current), path);
    case 'required':
      return compareRequired(released, current, path);
    case 'items':
      return incompatibilities(itemsOf(released), itemsOf(current), `${path}[]`);
    default: {
      const [before, now] = [released, current].map((schema) => JSON.stringify(schema[keyword]));
      return before === now ? [] : [`${path}: ${keyword} was ${before} and is ${now}`];
    }
  }
}

function compareProperties(
  released: Readonly<Record<string, Schema>>,
  current: Readonly<Record<string, Schema>>,
  path: string,
): string[] {
  return Object.entries(released).flatMap(([name, before]) => {
    const now = current[name];
    if (now === undefined) return [`${path}.${name}: is not there any more`];
    return incompatibilities(before, now, `${path}.${name}`);
  });
}

function compareRequired(released: Schema, current: Schema, path: string): string[] {
  const before = namesOf(released);
  const now = namesOf(current);
  return [
    ...now
      .filter((name) => !before.includes(name))
      .map((name) => `${path}.${name}: is required now`),
    ...before
      .filter((name) => !now.includes(name))
      .map((name) => `${path}.${name}: may be missing now`),
  ];
}

function fieldsOf(schema: Schema): Readonly<Record<string, Schema>> {
  return (schema['properties'] ?? {}) as Record<string, Schema>;
}

function namesOf(schema: Schema): readonly string[] {
  return (schema['required'] ?? []) as string[];
}

function itemsOf(schema: Schema): Schema {
  return (schema['items'] ?? {}) as Schema;
}
