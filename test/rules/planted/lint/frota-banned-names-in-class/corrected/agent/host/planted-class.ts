export class NodeList {
  readonly count = 1;
}
