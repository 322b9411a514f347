/**
 * `npm run new -- event|projection|command NAME`: writes the files of a new one, marks what a person
 * decides in them, registers it, and prints what is left to do.
 */
import { Argument, Command, Option } from 'commander';
import { runProgram } from '../platform/process/program';
import { root, write } from './files';
import { kinds, plan, type Plan } from './plan';

async function main(): Promise<void> {
  const program = new Command('npm run new --')
    .description('write the files of a new event type, projection or command')
    .addArgument(new Argument('<kind>', 'what it is').choices(kinds))
    .argument('<name>', 'its name, as ReviewPosted, user_activity, postReview')
    .addOption(
      new Option('--topic <topic>', "an event's topic").choices(['catalog-events', 'order-events']),
    )
    .option('--event <type>', 'the event that a command publishes')
    .parse();
  const [kind, name] = program.args as [Plan['kind'], string];
  const { files, left } = plan(root, {
    kind,
    name,
    ...program.opts<Pick<Plan, 'event' | 'topic'>>(),
  });
  write(files);
  process.stdout.write(`\nLeft to do:\n${left.map((line) => `- ${line}\n`).join('')}`);
}

runProgram(main, { explain: (error) => (error instanceof Error ? error.message : error) });
