/** In-memory streams, each a terminal or not. */
import { PassThrough } from 'node:stream';
import { WriteStream } from 'node:tty';
import type { Streams } from '../operations/cli/output';

export interface MemoryStreams extends Streams {
  readonly written: { readonly stdout: string; readonly stderr: string };
  /** Simulates input, typed or piped. */
  type(text: string): void;
}

/** Which of the streams are terminals; none by default. */
export type Terminals = Readonly<Partial<Record<keyof Streams, boolean>>>;

export function createMemoryStreams(terminals: Terminals = {}): MemoryStreams {
  const written = { stdout: '', stderr: '' };
  const input = new PassThrough();
  const keep = (name: keyof typeof written): NodeJS.WriteStream => {
    const stream = new PassThrough();
    stream.on('data', (chunk: Buffer) => (written[name] += chunk.toString()));
    const terminal = {
      isTTY: terminals[name] === true,
      columns: 100,
      // Node.js decides, by the test's environment.
      hasColors: () => WriteStream.prototype.hasColors(process.env),
    };
    return Object.assign(stream, terminal) as unknown as NodeJS.WriteStream;
  };
  return {
    written,
    stdin: Object.assign(input, {
      isTTY: terminals.stdin === true,
    }) as unknown as NodeJS.ReadStream,
    stdout: keep('stdout'),
    stderr: keep('stderr'),
    type: (text) => void input.write(text),
  };
}
