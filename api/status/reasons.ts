/** Why a part of the system's state could not be measured, in words. */
import { isDatabaseSlow } from '../http/database';

/** Without addresses or statements: only errors of ours have a text for people. */
export function explainUnmeasured(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  if (isDatabaseSlow(error)) return 'PostgreSQL is slow: its statement timeout has passed';
  if (code === 'TIMEOUT') return 'no answer within some seconds';
  return reasons[String(code)] ?? 'it could not be read; the log of the API says why';
}

const reasons: Readonly<Record<string, string>> = {
  DATABASE_UNAVAILABLE: 'PostgreSQL is unavailable',
  KAFKA_UNAVAILABLE: 'Kafka is unavailable',
  OVERLOADED: 'the API is overloaded',
};
