/** `CONFIGURATION.md` says what the schema of the configuration says. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { environmentVariables, readConfig } from '../../platform/process/config';
import { plannedConfigurationPage, readVariables } from '../../scaffold/configuration-page';
import { root } from '../../scaffold/files';

const source = readFileSync(path.join(root, 'platform/process/config.ts'), 'utf8');

test('the page is what the schema says (else: npm run generate)', () => {
  const { file, text } = plannedConfigurationPage(root);

  expect(readFileSync(path.join(root, file), 'utf8')).toBe(text);
});

test('every variable that the project reads has its row', () => {
  expect(readVariables(source).map(({ name }) => name)).toEqual(environmentVariables);
});

test('a default of the page, set by hand, changes nothing', () => {
  const defaults = readVariables(source)
    .filter(({ fallback }) => fallback !== 'unset')
    .map(({ name, fallback }) => [name, fallback.slice(1, -1)]);

  expect(defaults.length).toBeGreaterThan(20);
  expect(readConfig(Object.fromEntries(defaults))).toEqual(readConfig({}));
});

const only = (variable: string): string =>
  `const most = 2;\nconst schema = z.object({\n${variable}\n});`;

test('a row has the values, the default and the comment', () => {
  const variables = readVariables(
    only(`
      /** How many,
       * of \`a|b\`. */
      LIMIT: z.coerce.number().int().min(1).max(most).default(2 * 1_000),
      /** Which. */
      KIND: z.enum(['one', 'other']).optional(),`),
  );

  expect(variables).toEqual([
    {
      name: 'LIMIT',
      values: 'number, 1 to 2',
      fallback: '`2000`',
      purpose: 'How many, of `a\\|b`.',
    },
    { name: 'KIND', values: '`one`, `other`', fallback: 'unset', purpose: 'Which.' },
  ]);
});

test.each([
  ['a default that is computed', only('PORT: z.string().default(choose()),'), /choose\(\)/],
  ['a variable without a comment', only('PORT: z.string(),'), /no comment says what PORT is for/],
  ['one whose comment is empty', only('/** */ PORT: z.string(),'), /what PORT is for/],
  ['no schema', 'const scheme = z.object({});', /no const schema/],
])('%s is refused by name', (_, text, message) => {
  expect(() => readVariables(text)).toThrow(message);
});
