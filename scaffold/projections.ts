/** The files that follow from the declarations of projections. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { projections } from '../projections';
import type { ReleasedProjection } from '../projections/definition';
import { DeclarationError } from '../projections/effects';
import { planMigration } from '../projections/migration';
import { omissions } from '../projections/omissions';
import type { PlannedFile } from './files';

const releasedFile = 'projections/released.json';

/**
 * The next migration and `released.json`; none while every projection is as it was released.
 *
 * @throws DeclarationError for changes that only a person can decide, and for what is declared to no
 *   effect, before a migration is written without it
 */
export function plannedProjectionFiles(root: string): PlannedFile[] {
  const omitted = omissions(projections);
  if (omitted.length > 0) throw new DeclarationError(omitted.join('\n'));
  // Read, not imported: an earlier step of the same command may have written it.
  const text = readFileSync(path.join(root, releasedFile), 'utf8');
  const released = JSON.parse(text) as Record<string, ReleasedProjection>;
  const number = nextMigration(path.join(root, 'migrations'));
  const planned = planMigration(projections, released, number);
  if (planned === undefined) return [];
  const name = `${String(number).padStart(4, '0')}_${planned.tables.join('_and_')}.sql`;
  return [
    { file: `migrations/${name}`, text: planned.sql },
    { file: releasedFile, text: `${JSON.stringify(planned.released, null, 2)}\n` },
  ];
}

function nextMigration(folder: string): number {
  const numbers = readdirSync(folder).flatMap((file) => /^(\d{4})_.*\.sql$/.exec(file)?.[1] ?? []);
  return Math.max(0, ...numbers.map(Number)) + 1;
}
