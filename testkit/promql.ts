/** What a PromQL expression reads, parsed with Prometheus' own grammar. */
import * as promql from '@prometheus-io/lezer-promql';

/** One place in an expression that reads a metric. */
export interface Selector {
  readonly metric: string;
  readonly matchers: readonly Matcher[];
  /** Whether an aggregation is around it. */
  readonly aggregated: boolean;
  /** Labels that aggregations around it group by. */
  readonly groupedBy: readonly string[];
  /** The function applied directly, such as `rate`; undefined where there is none. */
  readonly takenBy: string | undefined;
}

/** A condition on a label. */
interface Matcher {
  readonly label: string;
  readonly operator: string;
  readonly value: string;
}

/** A syntax error in the expression. */
export class PromQLSyntaxError extends Error {
  override readonly name = 'PromQLSyntaxError';
  readonly code = 'PROMQL_SYNTAX';
}

type SyntaxNode = ReturnType<typeof promql.parser.parse>['topNode'];

/** Everything that an expression reads. @throws PromQLSyntaxError */
export function readSelectors(expression: string): Selector[] {
  const found: Selector[] = [];
  promql.parser.parse(expression).iterate({
    enter: ({ type, node }) => {
      if (type.isError) throw new PromQLSyntaxError(`at ${node.from} of: ${expression}`);
      if (type.id === promql.VectorSelector) found.push(selectorOf(node, expression));
    },
  });
  return found;
}

/** A sample of a scrape. */
export interface Sample {
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
}

/**
 * Evaluates an expression on one scrape: the samples for which it holds. Supports comparisons of a
 * metric, or of its maximum, with a number: instant-vector alerts.
 *
 * @param samples the samples of each metric
 * @throws PromQLSyntaxError for anything else
 */
export function evaluateComparison(
  expression: string,
  samples: ReadonlyMap<string, readonly Sample[]>,
): Sample[] {
  const top = promql.parser.parse(expression).topNode.firstChild!;
  const [left, right] = [top.firstChild, top.lastChild];
  const compares = top.type.id === promql.BinaryExpr && top.getChild(promql.Gtr) !== null;
  const [selector, ...others] = readSelectors(expression);
  if (!compares || left === null || right === null || selector === undefined || others.length > 0) {
    throw new PromQLSyntaxError(`no comparison of one metric with a number: ${expression}`);
  }
  const bound = Number(expression.slice(right.from, right.to));
  const groups = new Map<string, Sample>();
  for (const sample of samples.get(selector.metric) ?? []) {
    const kept = selector.aggregated ? selector.groupedBy : [...sample.labels.keys()];
    const labels = new Map(kept.map((label) => [label, sample.labels.get(label) ?? '']));
    const key = JSON.stringify([...labels]);
    const value = Math.max(sample.value, groups.get(key)?.value ?? -Infinity);
    groups.set(key, { labels, value });
  }
  return [...groups.values()].filter(({ value }) => value > bound);
}

function selectorOf(node: SyntaxNode, expression: string): Selector {
  const text = ({ from, to }: SyntaxNode): string => expression.slice(from, to);
  const name = node.getChild(promql.Identifier);
  if (name === null) throw new PromQLSyntaxError(`a selector without a name: ${expression}`);
  return {
    metric: text(name),
    matchers: matchersOf(node, text),
    aggregated: ancestorsOf(node).some(({ type }) => type.id === promql.AggregateExpr),
    groupedBy: ancestorsOf(node).flatMap((ancestor) => groupingOf(ancestor, text)),
    takenBy: takerOf(node, text),
  };
}

type TextOf = (node: SyntaxNode) => string;

function matchersOf(selector: SyntaxNode, text: TextOf): Matcher[] {
  const matchers = selector.getChild(promql.LabelMatchers);
  return (matchers?.getChildren(promql.UnquotedLabelMatcher) ?? []).map((matcher) => ({
    label: text(matcher.getChild(promql.LabelName)!),
    operator: text(matcher.getChild(promql.MatchOp)!),
    value: JSON.parse(text(matcher.getChild(promql.StringLiteral)!)) as string,
  }));
}

function groupingOf(node: SyntaxNode, text: TextOf): string[] {
  const modifier = node.getChild(promql.AggregateModifier);
  return (modifier?.getChild(promql.GroupingLabels)?.getChildren(promql.LabelName) ?? []).map(text);
}

/** Looks through the range of `metric[5m]`, but not through computations. */
function takerOf(selector: SyntaxNode, text: TextOf): string | undefined {
  const transparent = [promql.MatrixSelector, promql.FunctionCallBody];
  const taker = ancestorsOf(selector).find(({ type }) => !transparent.includes(type.id));
  const name = taker?.getChild(promql.FunctionIdentifier) ?? null;
  return name === null ? undefined : text(name);
}

function ancestorsOf(node: SyntaxNode): SyntaxNode[] {
  const ancestors: SyntaxNode[] = [];
  for (let each = node.parent; each !== null; each = each.parent) ancestors.push(each);
  return ancestors;
}
