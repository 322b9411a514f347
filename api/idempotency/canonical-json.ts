/** JSON in one spelling: values that are equal have equal text, however their fields are ordered. */

/** The value as JSON with the fields of every object in the order of their names; `null` for undefined. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value ?? null, (_, child: unknown) =>
    isRecord(child) ? sorted(child) : child,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function sorted(record: Record<string, unknown>): Record<string, unknown> {
  const names = Object.keys(record).sort();
  return Object.fromEntries(names.map((name) => [name, record[name]]));
}
