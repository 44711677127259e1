// The law that a linter can check; the reasons are in docs/rules.md, planted violations in test/rules.
import { basename, extname, relative, sep } from 'node:path';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Words that say nothing: a name with one of them hides what the thing is. */
const bannedWords = ['manager', 'helper', 'helpers', 'util', 'utils', 'process', 'data', 'common', 'shared', 'lib'];
/** A file a person can hold in the head; DESIGN asks for about 300 lines, this is where it stops. */
const maxFileLines = 350;
const maxFunctionLines = 70;
const pureRooms = [
  'controller/plan',
  'controller/schedule',
  'controller/network',
  'controller/drills',
  'agent/reconcile',
  'cli/manifest',
  'proto/domain',
];

const wordsOf = (name) =>
  name
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1-$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
const bannedIn = (name) => wordsOf(name).find((word) => bannedWords.includes(word));

const bannedNames = {
  meta: {
    type: 'problem',
    schema: [],
    messages: { banned: "{{what}} '{{name}}' has the banned word '{{word}}': say what it is or does" },
  },
  create(context) {
    const report = (node, what, name) => {
      const word = bannedIn(name);
      if (word !== undefined) context.report({ node, messageId: 'banned', data: { what, name, word } });
    };
    const isFunction = (node) => node?.type === 'ArrowFunctionExpression' || node?.type === 'FunctionExpression';
    return {
      Program(node) {
        const path = relative(context.cwd, context.filename);
        const folders = path.split(sep).slice(0, -1);
        for (const folder of folders) report(node, 'folder', folder);
        report(node, 'file', basename(path, extname(path)));
      },
      'ClassDeclaration, ClassExpression'(node) {
        if (node.id) report(node.id, 'class', node.id.name);
      },
      'ExportNamedDeclaration > FunctionDeclaration, ExportDefaultDeclaration > FunctionDeclaration'(node) {
        if (node.id) report(node.id, 'exported function', node.id.name);
      },
      'ExportNamedDeclaration > VariableDeclaration > VariableDeclarator'(node) {
        if (node.id.type === 'Identifier' && isFunction(node.init)) report(node.id, 'exported function', node.id.name);
      },
    };
  },
};

const impure = (name) => ({ name, message: 'A pure room has no effects: take it as an argument.' });

export default defineConfig(
  globalIgnores([
    '**/node_modules/',
    'dist/',
    'coverage/',
    'proto/gen/',
    'test/rules/planted/',
    '**/*.js',
    '**/*.cjs',
    '**/*.mjs',
    '*.ts',
  ]),
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { frota: { rules: { 'banned-names': bannedNames } } },
    rules: {
      'frota/banned-names': 'error',
      'max-lines': ['error', { max: maxFileLines }],
      'max-lines-per-function': ['error', { max: maxFunctionLines, skipBlankLines: true, skipComments: true }],
      'no-console': 'error',
      eqeqeq: 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'separate-type-imports' }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      // Numbers and booleans print as anyone expects; objects and undefined do not.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // Ports are made by factories whose methods have no `this`; the few classes keep their state in # fields, which fail loudly.
      '@typescript-eslint/unbound-method': 'off',
      // Ports are implemented with promises where an adapter happens to need none.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // `while (true)` with an abort inside is how a loop of a server looks.
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
    },
  },
  {
    // The clock port and its reading of the machine's clocks; everything else takes time as an argument or is an adapter.
    files: pureRooms.map((room) => `${room}/**/*.ts`),
    rules: {
      'no-restricted-syntax': [
        'error',
        { selector: ':function[async=true]', message: 'A pure room has no async functions.' },
        { selector: 'AwaitExpression', message: 'A pure room does not wait.' },
        { selector: 'ForOfStatement[await=true]', message: 'A pure room does not wait.' },
        { selector: 'ImportExpression', message: 'A pure room loads nothing at run time.' },
      ],
      'no-restricted-globals': [
        'error',
        ...['Date', 'Promise', 'process', 'performance', 'crypto', 'fetch', 'globalThis', 'queueMicrotask'].map(impure),
        ...['setTimeout', 'setInterval', 'setImmediate'].map(impure),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'A pure room takes randomness as an argument.' },
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      'max-lines': 'off',
      'max-lines-per-function': 'off',
      'no-restricted-syntax': 'off',
      // Test tables index what they have just built.
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
);
