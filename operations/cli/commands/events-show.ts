/** `events show`. */
import type { Command } from 'commander';
import { placeOf } from '../../../events/received';
import type { EventJourney } from '../../event-journey';
import { exitCodes, type RunCommand } from '../command';
import { countOf, table, type Column, type Output } from '../output';

export function addShowCommand(events: Command, run: RunCommand): void {
  events
    .command('show')
    .description('follow an event from its commit to its effects, also one that is not logged yet')
    .argument('<event ID>', 'as in the list, a dead letter or an answer of the API')
    .addHelpText(
      'after',
      `
Says where the event is and what to do. Exit code 1 when nothing knows the event.

Examples:
  npm run ops -- events show 0b1f6d2e-5f5c-5a2b-9a51-6f1a4c2f7d10
  npm run ops -- events show 0b1f6d2e-5f5c-5a2b-9a51-6f1a4c2f7d10 --json | jq .state`,
    )
    .action((eventId: string, _options: unknown, command: Command) =>
      run(command, async ({ eventJourneys, output }) => {
        const journey = await eventJourneys().find(eventId);
        if (journey === undefined) {
          output.note(
            `No event ${eventId} in the outbox, the audit log, the dead letters or a running workflow.`,
          );
          return exitCodes.failed;
        }
        output.result(journey, () => describe(journey, output));
        return exitCodes.ok;
      }),
    );
}

function describe(journey: EventJourney, output: Output): string {
  const { eventId, type, aggregateId, state, summary, remedy, effects, event } = journey;
  const about = [type ?? 'of unknown type', ...(aggregateId === null ? [] : [`of ${aggregateId}`])];
  const parts = [
    `${output.paint('bold', eventId)}  ${about.join(' ')}`,
    `${output.paint(colours[state], state)}: ${summary}${remedy === null ? '' : `\n${remedy}`}`,
    table(stepsOf(journey), stepColumns, output),
    ...(effects === null ? ['Its effects cannot be told: PostgreSQL rejects its values.'] : []),
    ...(effects?.length ? [table(effects, effectColumns, output)] : []),
    ...lettersOf(journey),
    ...(event === null ? [] : [JSON.stringify(event, undefined, 2)]),
  ];
  return parts.join('\n\n');
}

const colours = {
  unpublished: 'yellow',
  published: 'yellow',
  taken: 'yellow',
  logged: 'yellow',
  handled: 'green',
  parked: 'red',
  redriven: 'yellow',
  discarded: 'dim',
} as const;

interface Step {
  readonly name: string;
  readonly at: string | null;
  readonly afterMs: number | null;
  readonly detail: string;
}

function stepsOf({
  committed,
  published,
  taken,
  logged,
  handled,
  evictions,
  repeats,
}: EventJourney): Step[] {
  const { productIds, state } = evictions;
  return [
    committed && {
      ...committed,
      name: 'committed',
      detail: `outbox sequence ${committed.sequence}`,
    },
    published && { ...published, name: 'published', detail: placeOf(published) },
    taken && {
      ...taken,
      name: 'taken',
      detail: [taken.workflowType, taken.workflowId, taken.status].filter(Boolean).join(' '),
    },
    logged && { ...logged, name: 'logged', detail: placeOf(logged) },
    handled && { ...handled, name: 'handled', detail: `by ${handled.workflowId}` },
    state === 'none'
      ? null
      : {
          name: 'evicted',
          at: null,
          afterMs: null,
          detail: `${countOf(productIds.length, 'product')}, ${state}: ${productIds.join(', ')}`,
        },
    repeats && {
      name: 'repeated',
      at: repeats.lastAt,
      afterMs: null,
      detail: `${countOf(repeats.count, 'time')} since ${repeats.firstAt}, and changed nothing; last at ${placeOf(repeats.last)}`,
    },
  ].filter((step) => step !== null);
}

const stepColumns: readonly Column<Step>[] = [
  { title: 'stage', of: ({ name }) => name },
  { title: 'at', of: ({ at }) => at },
  {
    title: 'after',
    of: ({ afterMs }) => (afterMs === null ? null : `${afterMs} ms`),
    align: 'right',
  },
  { title: '', of: ({ detail }) => detail },
];

type Effect = NonNullable<EventJourney['effects']>[number];

const signs = { sum: '+=', newest: ':=', maximum: 'max' } as const;

const effectColumns: readonly Column<Effect>[] = [
  { title: 'table', of: ({ table: name }) => name },
  { title: 'row', of: ({ key }) => Object.values(key).join(', ') },
  {
    title: 'changes',
    of: ({ changes }) =>
      changes.map(({ column, kind, value }) => `${column} ${signs[kind]} ${value}`).join(', '),
  },
];

function lettersOf({ deadLetters }: EventJourney): string[] {
  const lines = deadLetters.map(({ id, status, reason, carriesEvent, ...place }) => {
    const other = carriesEvent ? '' : '; another message with this ID';
    return `Dead letter ${id}: ${status}, ${reason}, from ${placeOf(place)}${other}`;
  });
  return lines.length === 0 ? [] : [lines.join('\n')];
}
