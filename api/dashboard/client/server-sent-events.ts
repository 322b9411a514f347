/**
 * Reading server-sent events from text that comes in pieces, as the HTML standard lays them out:
 * https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */

/** An event of a stream. */
export interface ServerSentEvent {
  readonly type: string;
  readonly data: string;
  /** Set where the event carries an ID of its own. */
  readonly id?: string;
}

/** A function that takes the stream's next piece and gives the events that it completes. */
export function createEventReader(): (piece: string) => ServerSentEvent[] {
  let rest = '';
  let lines: string[] = [];
  return (piece) => {
    const found: ServerSentEvent[] = [];
    // A piece may end between the two characters of a line's end.
    const text = rest + piece;
    const complete = text.endsWith('\r') ? text.slice(0, -1) : text;
    const parts = complete.split(/\r\n|\n|\r/);
    rest = (parts.pop() ?? '') + text.slice(complete.length);
    for (const line of parts) {
      if (line !== '') {
        lines.push(line);
        continue;
      }
      const event = toEvent(lines);
      if (event !== undefined) found.push(event);
      lines = [];
    }
    return found;
  };
}

function toEvent(lines: readonly string[]): ServerSentEvent | undefined {
  const fields = lines.filter((line) => !line.startsWith(':')).map(toField);
  const valuesOf = (name: string): string[] =>
    fields.filter((field) => field.name === name).map(({ value }) => value);
  const data = valuesOf('data');
  if (data.length === 0) return undefined;
  const id = valuesOf('id').at(-1);
  const event = { type: valuesOf('event').at(-1) ?? 'message', data: data.join('\n') };
  return id === undefined ? event : { ...event, id };
}

function toField(line: string): { name: string; value: string } {
  const colon = line.indexOf(':');
  if (colon < 0) return { name: line, value: '' };
  return { name: line.slice(0, colon), value: line.slice(colon + 1).replace(/^ /, '') };
}
