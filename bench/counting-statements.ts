/**
 * Preloaded into a process that is measured: counts its statements and prints their number when it
 * ends, in a line `statements: N`. Each is a round trip to PostgreSQL, `BEGIN` and `COMMIT` too.
 */
import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { isMainThread } from 'node:worker_threads';
import type pg from 'pg';

// The one that the pipeline loads: this folder has another, for the peers.
const requireOurs = createRequire(path.join(__dirname, '..', 'package.json'));
const { Client } = requireOurs('pg') as typeof pg;

let statements = 0;

// pg's own type of `query` is a union of overloads that no wrapper can be written for.
const prototype = Client.prototype as unknown as { query: (...input: unknown[]) => unknown };
const { query } = prototype;
prototype.query = function (...input) {
  statements += 1;
  return query.apply(this, input);
};

// Workflow threads load this, too, and have no statements.
if (isMainThread) process.on('exit', () => writeSync(1, `\nstatements: ${statements}\n`));
