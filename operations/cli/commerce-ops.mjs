#!/usr/bin/env node
/**
 * The operator's command line as a command of its own, `commerce-ops`: unlike `npm run`, it prints nothing on
 * standard output but the answer.
 */
process.argv.splice(2, 0, 'run', 'operations/cli/main.ts');
await import('../../launch.mjs');
