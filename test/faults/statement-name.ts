/** What a statement of the product is called: by the name that it is prepared under, or a comment before it. */
export function statementName(statement: unknown): string | undefined {
  if (typeof statement === 'string') return statement;
  const { name, text } = (statement ?? {}) as { name?: string; text?: string };
  return name ?? /^\s*\/\* ([a-z-]+) \*\//.exec(text ?? '')?.[1];
}
