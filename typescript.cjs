/**
 * Lets Node.js run the project's TypeScript as it is: `node --require ./typescript.cjs FILE.ts`. Types
 * are not checked; `npm run typecheck` does that.
 *
 * Each file is compiled once for its content, by esbuild, and kept. A process that is started again
 * only reads: with a compiler loaded into each of them, half of what a start costs was the compiler.
 */
'use strict';

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { version } = require('esbuild/package.json');
require('./package-cache.cjs');

const folder = path.join(__dirname, 'node_modules', '.cache', 'typescript');

Module._extensions['.ts'] = (module, file) => {
  module._compile(compiledOf(file), file);
};
process.setSourceMapsEnabled(true);

function compiledOf(file) {
  const source = fs.readFileSync(file, 'utf8');
  const hash = createHash('sha256').update(`${version}\n${file}\n`).update(source).digest('hex');
  const kept = path.join(folder, `${hash}.js`);
  try {
    return fs.readFileSync(kept, 'utf8');
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
  }
  const compiled = compile(source, file);
  keep(kept, compiled);
  return compiled;
}

function compile(source, file) {
  const { transformSync } = require('esbuild');
  const options = { loader: 'ts', format: 'cjs', platform: 'node', target: 'node20' };
  return transformSync(source, { ...options, sourcemap: 'inline', sourcefile: file }).code;
}

/** Several processes may compile the same file at once: each writes its own, and the last rename wins. */
function keep(file, compiled) {
  const draft = `${file}.${process.pid}`;
  try {
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(draft, compiled);
    fs.renameSync(draft, file);
  } catch (error) {
    // Installed where nobody may write: it runs all the same, and is compiled again next time.
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOSPC'].includes(error.code)) throw error;
  }
}
