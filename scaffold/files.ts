/** Files that are written from declarations. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** The project's folder. */
export const root = path.join(__dirname, '..');

/** A file as it has to be. */
export interface PlannedFile {
  /** Its path below the root. */
  readonly file: string;
  readonly text: string;
}

/** Writes the files that are not yet as planned, and prints the name of each. */
export function write(files: readonly PlannedFile[]): void {
  for (const { file, text } of files) {
    const target = path.join(root, file);
    if (existsSync(target) && readFileSync(target, 'utf8') === text) continue;
    writeFileSync(target, text);
    process.stdout.write(`wrote ${file}\n`);
  }
}
