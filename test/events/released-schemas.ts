/** The schemas of events as they were released, a file each. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { SchemaVersion } from '../../events/json-schemas';
import { isEventType } from '../../events/schemas';
import type { Schema } from './schema-compatibility';

/** Where the files are. */
export const releasedFolder = path.join(__dirname, '..', '..', 'events', 'released');

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

/** The name of a released schema's file. */
export function releasedFile({ type, version }: SchemaVersion): string {
  return path.join(releasedFolder, `${type}.${version}.json`);
}
