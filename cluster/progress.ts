/** Progress lines of the cluster. */

/** Takes one step of one server, such as `('kafka', 'answers on 127.0.0.1:19092')`. */
export type Report = (server: string, step: string) => void;

/** Writes one line per step, with the seconds since `printProgress` was called. */
export function printProgress(stream: NodeJS.WritableStream): Report {
  const start = performance.now();
  return (server, step) => {
    const seconds = ((performance.now() - start) / 1000).toFixed(1).padStart(6);
    stream.write(`${seconds} s  ${server.padEnd(longestName)} ${step}\n`);
  };
}

const longestName = 'worker:collector'.length;
