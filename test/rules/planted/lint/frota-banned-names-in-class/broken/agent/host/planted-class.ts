export class NodeManager {
  readonly count = 1;
}
