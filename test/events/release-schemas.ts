/**
 * Writes the schemas of events as they are now to `events/released/`, from where on they are held to
 * that: `node --require ./typescript.cjs test/events/release-schemas.ts`. Refuses what would break readers.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dataJsonSchema, schemaVersions } from '../../events/json-schemas';
import { releasedFile, releasedFolder, releasedSchemas } from './released-schemas';
import { incompatibilities } from './schema-compatibility';

mkdirSync(releasedFolder, { recursive: true });
const broken = releasedSchemas().flatMap(({ type, version, schema }) =>
  incompatibilities(schema, dataJsonSchema(type, version) ?? {}, `${type} ${version}`),
);
if (broken.length > 0) {
  console.error(`Released schemas would break; make a new version:\n${broken.join('\n')}`);
  process.exit(1);
}
for (const place of schemaVersions) {
  const schema = dataJsonSchema(place.type, place.version);
  writeFileSync(releasedFile(place), `${JSON.stringify(schema, null, 2)}\n`);
}
