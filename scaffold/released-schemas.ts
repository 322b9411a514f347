/** The schemas of events as they were released, a file each. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { dataJsonSchema, schemaVersions, type SchemaVersion } from '../events/json-schemas';
import { isEventType } from '../events/schemas';
import { root, type PlannedFile } from './files';
import { incompatibilities, type Schema } from './schema-compatibility';

/** Where the files are. */
const releasedFolder = path.join(root, 'events', 'released');

/** A schema that was released. */
export interface ReleasedSchema extends SchemaVersion {
  readonly schema: Schema;
}

/** Every schema that was released. */
export function releasedSchemas(): ReleasedSchema[] {
  return readdirSync(releasedFolder).map((file) => {
    const [, type = '', version] = /^(\w+)\.(\d+)\.json$/.exec(file) ?? [];
    // A type that is not known any more was released all the same.
    if (!isEventType(type)) throw new Error(`events/released/${file} is of no known type.`);
    const text = readFileSync(path.join(releasedFolder, file), 'utf8');
    return { type, version: Number(version), schema: JSON.parse(text) as Schema };
  });
}

/**
 * The files of all schemas as they are now: from when they are committed they are held to that.
 *
 * @throws BreakingChangeError when readers or writers of a released schema would break
 */
export function plannedSchemaFiles(): PlannedFile[] {
  const broken = releasedSchemas().flatMap(({ type, version, schema }) =>
    incompatibilities(schema, dataJsonSchema(type, version) ?? {}, `${type} ${version}`),
  );
  if (broken.length > 0) throw new BreakingChangeError(broken);
  return schemaVersions.map(({ type, version }) => ({
    file: `events/released/${type}.${version}.json`,
    text: `${JSON.stringify(dataJsonSchema(type, version), null, 2)}\n`,
  }));
}

/** A released schema changed in a way that breaks others. The message names each field. */
class BreakingChangeError extends Error {
  override readonly name = 'BreakingChangeError';
  readonly code = 'BREAKING_SCHEMA_CHANGE';

  constructor(broken: readonly string[]) {
    super(`Released schemas would break; declare a new version beside them:\n${broken.join('\n')}`);
  }
}
