/**
 * Lints pieces of source text with the project's own configuration, as if they were files of a house
 * that has every room. A process of its own, since jest can't load ESLint's configuration.
 *
 * Reads a JSON line `[{ "file": "api/x.ts", "source": "…" }]` after the other from standard input,
 * and answers each with a line: an array for each piece, of its messages `{ rule, message }`. Ends
 * with its input. The paths are relative to the working directory, which holds the files that the
 * pieces import.
 */
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import typescript from 'typescript-eslint';

const eslint = new ESLint({
  cwd: process.cwd(),
  overrideConfigFile: fileURLToPath(new URL('../../eslint.config.mjs', import.meta.url)),
  // The pieces are in no TypeScript project; what needs one is not what is asked here.
  overrideConfig: [{ files: ['**/*.ts'], ...typescript.configs.disableTypeChecked }],
});

for await (const line of createInterface({ input: process.stdin })) {
  const answers = [];
  for (const { file, source } of JSON.parse(line)) {
    const [result] = await eslint.lintText(source, { filePath: file });
    answers.push(result.messages.map(({ ruleId, message }) => ({ rule: ruleId, message })));
  }
  process.stdout.write(`${JSON.stringify(answers)}\n`);
}
