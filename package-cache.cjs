/**
 * Keeps what Node.js would work out anew in each process: where the modules of packages are found, and
 * V8's code of them. A process of the project loads some thousand of them.
 *
 * Each entry point has one file, read at its start and written at the first exit after the packages
 * were installed. The project's own files are not in it: they change, and their source maps are
 * Node.js's to read.
 */
'use strict';

const { Buffer } = require('node:buffer');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const vm = require('node:vm');

const packages = path.join(__dirname, 'node_modules') + path.sep;
const cacheFile = path.join(packages, '.cache', 'packages', digest(process.argv[1] ?? ''));
const version = versionOfPackages();
const kept = readCache();
/** What this process has worked out, since it was not kept. */
const found = { paths: new Map(), scripts: new Map() };

if (version !== undefined) {
  const resolveFilename = Module._resolveFilename;
  Module._resolveFilename = function (request, parent, isMain, options) {
    const resolve = () => resolveFilename.call(this, request, parent, isMain, options);
    const isOfPackage = options === undefined && parent?.filename?.startsWith(packages);
    return isOfPackage ? resolveKept(request, parent, resolve) : resolve();
  };
  const compile = Module.prototype._compile;
  Module.prototype._compile = function (content, file, ...rest) {
    const script = file.startsWith(packages) ? scriptOf(content, file) : undefined;
    if (script === undefined) return compile.call(this, content, file, ...rest);
    return runAsModule(script, this, file);
  };
  process.once('exit', writeWhenWorthIt);
}

function digest(text) {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}

/** Undefined where npm has left nothing that tells one installation from the next. */
function versionOfPackages() {
  const installed = fs.statSync(path.join(packages, '.package-lock.json'), {
    throwIfNoEntry: false,
  });
  if (installed === undefined) return undefined;
  return [process.version, process.arch, installed.mtimeMs, installed.size].join(' ');
}

function resolveKept(request, parent, resolve) {
  const key = `${path.dirname(parent.filename)}\n${request}`;
  const known = kept.paths.get(key);
  if (known !== undefined) return known;
  const file = resolve();
  found.paths.set(key, file);
  return file;
}

/** From the kept code where there is some; undefined for what is no CommonJS, such as an ES module. */
function scriptOf(content, file) {
  let script;
  try {
    script = new vm.Script(Module.wrap(content), {
      filename: file,
      cachedData: kept.codes.get(file),
      importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    });
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  // V8 rejects code that it made under other flags.
  if (script.cachedDataRejected !== false) found.scripts.set(file, script);
  return script;
}

/** As Node.js calls a module's code. */
function runAsModule(script, module, file) {
  const load = Object.assign((request) => module.require(request), Module.createRequire(file));
  return script
    .runInThisContext()
    .call(module.exports, module.exports, load, module, file, path.dirname(file));
}

/** The first 4 bytes are the length of the index, which is JSON; after the index come the codes. */
function readCache() {
  const nothing = { paths: new Map(), codes: new Map() };
  try {
    const bytes = fs.readFileSync(cacheFile);
    const start = 4 + bytes.readUInt32LE(0);
    const index = JSON.parse(bytes.toString('utf8', 4, start));
    if (index.version !== version) return nothing;
    const codes = index.codes.map(([file, from, to]) => [
      file,
      bytes.subarray(start + from, start + to),
    ]);
    return { paths: new Map(index.paths), codes: new Map(codes) };
  } catch {
    // None yet, or a broken one: it is written at the exit.
    return nothing;
  }
}

/** Not for the few modules that one process of an entry point loads and another does not. */
function writeWhenWorthIt() {
  if (found.scripts.size <= kept.codes.size / 10) return;
  const codes = new Map(kept.codes);
  for (const [file, script] of found.scripts) codes.set(file, script.createCachedData());
  let end = 0;
  const places = [...codes].map(([file, code]) => [file, end, (end += code.length)]);
  const paths = [...kept.paths, ...found.paths];
  const index = Buffer.from(JSON.stringify({ version, paths, codes: places }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(index.length);
  keep(Buffer.concat([length, index, ...codes.values()]));
}

/** Several processes may end at once: each writes its own, and the last rename wins. */
function keep(bytes) {
  const draft = `${cacheFile}.${process.pid}`;
  try {
    fs.mkdirSync(path.dirname(cacheFile), { recursive: true });
    fs.writeFileSync(draft, bytes);
    fs.renameSync(draft, cacheFile);
  } catch (error) {
    // Installed where nobody may write: it runs all the same, only slower.
    if (!['EACCES', 'EPERM', 'EROFS', 'ENOSPC'].includes(error.code)) throw error;
  }
}
