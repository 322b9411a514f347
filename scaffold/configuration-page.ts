/**
 * `CONFIGURATION.md`: every variable that the processes read, with its values, its default and what it is
 * for, as the schema in `platform/process/config.ts` says them. Read from its source: the comments are
 * nowhere else.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import type { PlannedFile } from './files';

const schemaFile = 'platform/process/config.ts';

/** The schema is not written in the way that this page reads it. The message names the place. */
class ConfigurationSourceError extends Error {
  override readonly name = 'ConfigurationSourceError';
  readonly code = 'CONFIGURATION_SOURCE_UNREADABLE';
}

/**
 * The page, from the sources below the root.
 *
 * @throws ConfigurationSourceError when the schema is written in another way
 */
export function plannedConfigurationPage(root: string): PlannedFile {
  const rows = readVariables(readFileSync(path.join(root, schemaFile), 'utf8')).map(
    ({ name, values, fallback, purpose }) =>
      `| ${[`\`${name}\``, values, fallback, purpose].join(' | ')} |`,
  );
  return { file: 'CONFIGURATION.md', text: `${[...heading, ...rows, ...ending].join('\n')}\n` };
}

const heading = [
  '# Configuration',
  '',
  `Every variable of the processes, written by \`npm run generate\` from [\`${schemaFile}\`](${schemaFile}). A variable set to nothing counts as unset. A process whose configuration is wrong does not start, and names every variable that is.`,
  '',
  '| variable | values | default | what for |',
  '|---|---|---|---|',
];

const ending = [
  '',
  'TLS, passwords and servers that fail over: [0013](docs/decisions/0013-transport-and-credentials.md). A user of the database for each process: [0012](docs/decisions/0012-database-roles.md). In containers: [`docker-compose.yml`](docker-compose.yml), [Kubernetes](docs/kubernetes.md).',
];

/** A row of the table. */
interface Variable {
  readonly name: string;
  readonly values: string;
  readonly fallback: string;
  readonly purpose: string;
}

/**
 * The variables of a schema's source, in its order.
 *
 * @throws ConfigurationSourceError
 */
export function readVariables(source: string): Variable[] {
  const file = ts.createSourceFile(schemaFile, source, ts.ScriptTarget.ES2023, true);
  const constants = constantsOf(file);
  const [shape] = callOf(constants.get('schema'))?.arguments ?? [];
  if (shape === undefined || !ts.isObjectLiteralExpression(shape))
    throw new ConfigurationSourceError(`${schemaFile}: there is no const schema = z.object({…}).`);
  return shape.properties.map((property) => {
    if (!ts.isPropertyAssignment(property))
      throw new ConfigurationSourceError(`${schemaFile}: ${property.getText()} is no variable.`);
    const calls = chainOf(property.initializer);
    return {
      name: property.name.getText(),
      values: valuesOf(calls, constants),
      fallback: fallbackOf(calls, constants),
      purpose: purposeOf(property),
    };
  });
}

type Constants = ReadonlyMap<string, ts.Expression>;

function constantsOf(file: ts.SourceFile): Constants {
  const declarations = file.statements
    .filter(ts.isVariableStatement)
    .flatMap(({ declarationList }) => [...declarationList.declarations]);
  return new Map(
    declarations.flatMap(({ name, initializer }) =>
      initializer === undefined ? [] : [[name.getText(), initializer]],
    ),
  );
}

function callOf(expression: ts.Expression | undefined): ts.CallExpression | undefined {
  return expression !== undefined && ts.isCallExpression(expression) ? expression : undefined;
}

/** `z.enum(['a']).default('a')` as its calls and what they begin with, the last first. */
function chainOf(expression: ts.Expression): ts.Expression[] {
  const inner = ts.isCallExpression(expression)
    ? expression.expression
    : ts.isPropertyAccessExpression(expression)
      ? expression.expression
      : undefined;
  return inner === undefined ? [expression] : [expression, ...chainOf(inner)];
}

/** What a call of that name in the chain is given; undefined without one. */
function argumentOf(chain: readonly ts.Expression[], name: string): ts.Expression | undefined {
  const found = chain.find(
    (link) =>
      ts.isCallExpression(link) &&
      ts.isPropertyAccessExpression(link.expression) &&
      link.expression.name.text === name,
  );
  return callOf(found)?.arguments[0];
}

function valuesOf(chain: readonly ts.Expression[], constants: Constants): string {
  const start = constants.get(chain.at(-1)?.getText() ?? '');
  const whole = start === undefined ? chain : [...chain, ...chainOf(start)];
  const choices = argumentOf(whole, 'enum');
  if (choices !== undefined && ts.isArrayLiteralExpression(choices))
    return choices.elements.map((choice) => `\`${textOf(choice, constants)}\``).join(', ');
  const least = argumentOf(whole, 'min');
  const most = argumentOf(whole, 'max');
  if (least === undefined || !whole.some((link) => link.getText().startsWith('z.coerce.number')))
    return 'text';
  const bounds = [least, most].flatMap((bound) =>
    bound === undefined ? [] : [textOf(bound, constants)],
  );
  return bounds.length === 2
    ? `number, ${bounds.join(' to ')}`
    : `number, ${bounds.join('')} or more`;
}

function fallbackOf(chain: readonly ts.Expression[], constants: Constants): string {
  const given = argumentOf(chain, 'default') ?? argumentOf(chain, 'prefault');
  return given === undefined ? 'unset' : `\`${textOf(given, constants)}\``;
}

/** The value that an expression of literals, products and constants has. */
function textOf(expression: ts.Expression, constants: Constants): string {
  if (ts.isStringLiteralLike(expression)) return expression.text;
  if (ts.isNumericLiteral(expression)) return expression.text;
  if (ts.isAsExpression(expression)) return textOf(expression.expression, constants);
  if (expression.kind === ts.SyntaxKind.TrueKeyword) return 'true';
  if (expression.kind === ts.SyntaxKind.FalseKeyword) return 'false';
  if (ts.isIdentifier(expression)) {
    const constant = constants.get(expression.text);
    if (constant !== undefined) return textOf(constant, constants);
  }
  if (
    ts.isBinaryExpression(expression) &&
    expression.operatorToken.kind === ts.SyntaxKind.AsteriskToken
  ) {
    const { left, right } = expression;
    return String(Number(textOf(left, constants)) * Number(textOf(right, constants)));
  }
  throw new ConfigurationSourceError(
    `${schemaFile}: ${expression.getText()} is not a literal, a product or a constant of this file.`,
  );
}

/** The comment above a variable, as one line of a table. @throws ConfigurationSourceError without one */
function purposeOf(property: ts.PropertyAssignment): string {
  const comments = ts.getJSDocCommentsAndTags(property).map(({ comment }) => comment);
  const text = comments.map((comment) => ts.getTextOfJSDocComment(comment) ?? '').join(' ');
  if (text.trim() === '') {
    const name = property.name.getText();
    throw new ConfigurationSourceError(`${schemaFile}: no comment says what ${name} is for.`);
  }
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll('|', String.raw`\|`)
    .replaceAll(/(?<!`)docs\/([\w/-]+\.md)/g, '[docs/$1](docs/$1)');
}
