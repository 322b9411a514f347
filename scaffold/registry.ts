/**
 * Folders whose files register themselves: each file exports one declaration, and the folder's
 * `index.ts`, which is written from the listing, exports them all.
 */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { PlannedFile } from './files';

/** The folders, and what their index says of itself. */
const registries: Readonly<Record<string, string>> = {
  'events/types': 'Every event type.',
  'projections/tables': 'Every projection.',
};

/**
 * The index of each folder, from its listing.
 *
 * @throws RegistryError when a file does not export a declaration of its name
 */
export function plannedIndexes(root: string): PlannedFile[] {
  return Object.entries(registries).map(([folder, title]) => ({
    file: `${folder}/index.ts`,
    text: indexOf(path.join(root, folder), title),
  }));
}

/** A file in such a folder lacks its declaration. */
class RegistryError extends Error {
  override readonly name = 'RegistryError';
  readonly code = 'REGISTRY_INCOMPLETE';
}

function indexOf(folder: string, title: string): string {
  const modules = readdirSync(folder)
    .filter((file) => file.endsWith('.ts') && file !== 'index.ts')
    .map((file) => path.basename(file, '.ts'))
    .sort();
  const lines = modules.map((module) => {
    const name = camelCase(module);
    const source = readFileSync(path.join(folder, `${module}.ts`), 'utf8');
    if (!source.includes(`export const ${name} =`)) {
      throw new RegistryError(
        `${folder}/${module}.ts exports no constant ${name}, by which it is registered.`,
      );
    }
    return `export { ${name} } from './${module}';\n`;
  });
  const comment = `/** ${title} Written by \`npm run generate\` from the files in this folder. */\n`;
  return comment + lines.join('');
}

/** `like-changed` as `likeChanged`. */
function camelCase(words: string): string {
  return words.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
