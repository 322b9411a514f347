/**
 * Refusals are remembered. A command that changed something is known by what it has written; one that
 * changed nothing leaves no trace of its own, and a worker that was frozen could carry it out long after
 * somebody was told that it had failed. So its answer is kept, and is the answer from then on.
 */
import type { PoolClient } from 'pg';

/**
 * Decides a command, unless it was refused before: then the answer is the one of that time. Until the
 * transaction ends, no other transaction decides the same command.
 *
 * Call it before locking anything else, so that no two transactions wait for each other.
 *
 * @param commandId the ID of the command's workflow
 * @param isRefusal whether an answer says that nothing was changed, also not by an earlier attempt
 * @param decide returns the first answer again for a command that has changed something before
 */
export async function rememberingRefusal<Answer extends object>(
  connection: PoolClient,
  commandId: string,
  isRefusal: (answer: Answer) => boolean,
  decide: () => Promise<Answer>,
): Promise<Answer> {
  const refused = await findRefusal<Answer>(connection, commandId);
  if (refused !== undefined) return refused;
  const answer = await decide();
  if (isRefusal(answer)) await recordRefusal(connection, commandId, answer);
  return answer;
}

async function findRefusal<Answer extends object>(
  connection: PoolClient,
  commandId: string,
): Promise<Answer | undefined> {
  const { rows } = await connection.query<{ answer: Answer | null }>({
    name: 'refusal-find',
    text: 'SELECT commerce.refusal_of($1) AS answer',
    values: [commandId],
  });
  return rows[0]?.answer ?? undefined;
}

async function recordRefusal(
  connection: PoolClient,
  commandId: string,
  answer: object,
): Promise<void> {
  await connection.query({
    name: 'refusal-insert',
    text: 'INSERT INTO commerce.refusals (command_id, answer) VALUES ($1, $2)',
    values: [commandId, answer],
  });
}
