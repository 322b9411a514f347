/**
 * Preloaded into one process by the fault suite, never part of the product: ends that process, as
 * `kill -9` does, at the moment that `FAULT_BREAKPOINT` names. The product's statements have names,
 * so a moment is 'before' or 'after' one of them, or after the commit of a transaction that ran it.
 *
 *   before:outbox-mark     the brokers have acknowledged, and the database does not know yet
 *   after:metrics-update   the metrics are written, and Temporal does not know yet
 *   commit:stock-change    the stock is changed, and neither Temporal nor the caller knows yet
 */
import { Client } from 'pg';
import { statementName } from './statement-name';

const [when, statement] = (process.env['FAULT_BREAKPOINT'] ?? ':').split(':');

type Query = (this: Client, ...input: unknown[]) => unknown;

// pg's own type of `query` is a union of overloads that no wrapper can be written for.
const prototype = Client.prototype as unknown as { query: Query };
const query = prototype.query;
const marked = new WeakSet<Client>();

prototype.query = function (...input) {
  const name = statementName(input[0]);
  if (name === statement && when === 'before') die();
  if (name === statement) marked.add(this);
  const ends = (when === 'commit' ? name === 'COMMIT' : name === statement) && marked.has(this);
  if (!ends || when === 'before') return query.apply(this, input);
  // A pool hands its callback over; a transaction awaits what is returned.
  if (typeof input.at(-1) === 'function') return query.apply(this, [...input.slice(0, -1), die]);
  return (query.apply(this, input) as Promise<unknown>).then(die);
};

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // The signal comes a moment later; nothing may happen in between.
  for (;;);
}
