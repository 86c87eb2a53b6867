/** The page: reads the data, holds the state, and brings the parts together. */

import { readAddress, writeAddress } from './address.js';
import { makeControls, showControls } from './controls.js';
import { byId, element, oncePerFrame, setPressed } from './dom.js';
import { figures } from './figures.js';
import { Films } from './films.js';
import { fillHelp, listenToKeys } from './keys.js';
import { FilmList } from './list.js';
import { passes, sorted } from './order.js';
import { showFacts, showFigures } from './panel.js';
import { Pictures } from './pictures.js';
import { Threshold } from './thresholds.js';
import { Tools } from './tools.js';

const ADDRESS_DELAY = 200;

class Page {
  constructor(data) {
    this.data = data;
    this.films = new Films(data);
    this.all = [...Array(this.films.length).keys()];
    this.pictures = new Pictures();
    const { film, box } = data.thresholds;
    const start = { film: null, sort: 'error', down: true, outcomes: [], scope: 'all' };
    this.start = { ...start, thresholds: { film, box } };
    this.state = readAddress(this.start, this.films.length);
    this.list = new FilmList(this.films, (index) => this.select(index));
    this.tools = new Tools(data.square);
    this.refresh = oncePerFrame(() => this.refreshNow());
    makeControls(this.films, (changes) => this.change(changes), () => this.state);
    this.makeThresholds();
    this.makeHead();
    this.listen();
    addEventListener('hashchange', () => {
      this.change({ ...readAddress(this.start, this.films.length), scope: this.state.scope });
    });
    this.refreshNow();
    this.list.reveal();
  }

  change(changes) {
    Object.assign(this.state, changes);
    this.refresh();
  }

  select(index) {
    this.change({ film: index });
    this.revealing = true;
  }

  moveThreshold(name, value) {
    this.change({ thresholds: { ...this.state.thresholds, [name]: value } });
  }

  /** Everything that follows from the state. */
  refreshNow() {
    const { films, state } = this;
    this.order = sorted(films, state, state.thresholds);
    const counts = { FN: 0, FP: 0, TP: 0, TN: 0 };
    this.shown = this.order.filter((i) => {
      if (!passes(films, i, state)) return false;
      const outcome = films.outcome(i, state.thresholds.film);
      counts[outcome] += 1;
      return !state.outcomes.length || state.outcomes.includes(outcome);
    });
    state.film ??= this.shown[0] ?? 0;
    showControls(state, counts);
    this.list.update(this.shown, state.thresholds.film, state.film);
    if (this.revealing) this.list.reveal();
    this.revealing = false;
    this.showPosition();
    this.showFilm();
    this.showThresholds();
    clearTimeout(this.writing);
    this.writing = setTimeout(() => writeAddress(this.state, this.start), ADDRESS_DELAY);
  }

  showPosition() {
    const place = this.shown.indexOf(this.state.film);
    const of = this.shown.length;
    byId('position').textContent = `${place < 0 ? '–' : place + 1} of ${of}`;
    byId('empty').hidden = of > 0;
  }

  showFilm() {
    const { films, state } = this;
    const { film: i, thresholds } = state;
    const drawn = films.boxes[i]
      .slice(0, films.numDrawn(i, thresholds.box))
      .map((box, k) => ({ box, score: films.scores[i][k] }));
    const shown = {
      index: i,
      width: films.width[i],
      height: films.height[i],
      truths: films.truths[i],
      drawn,
    };
    this.tools.setFilm(shown, films.outcome(i, thresholds.film), films.probability[i]);
    showFacts(films, i, thresholds);
    if (this.wanted?.film !== i) this.load(i);
  }

  async load(i) {
    // Another object for each time: a film may be wanted again while its first load is stopped.
    const wanted = { film: i };
    this.wanted = wanted;
    const place = this.shown.indexOf(i);
    const beside = [this.shown[place + 1], this.shown[place - 1]].filter((k) => k !== undefined);
    this.pictures.keepOnly([i, ...beside]);
    this.tools.wait();
    try {
      const picture = await this.pictures.get(i);
      if (this.wanted === wanted) this.tools.setPicture(picture);
    } catch (error) {
      if (this.wanted === wanted) this.tools.say(`No picture: ${error.message}`);
    }
    // Errors of these are told when they are on display.
    if (this.wanted === wanted) beside.forEach((k) => this.pictures.get(k).catch(() => {}));
  }

  showThresholds() {
    const { films, state, start } = this;
    const { film, box } = state.thresholds;
    this.filmThreshold.show(film);
    this.boxThreshold.show(box);
    const moved = film !== start.thresholds.film || box !== start.thresholds.box;
    byId('caution').hidden = !moved;
    byId('reset-thresholds').disabled = !moved;
    const counted = state.scope === 'all' ? this.all : this.shown;
    const now = figures(films, counted, state.thresholds);
    const evaluated = moved ? figures(films, counted, start.thresholds) : now;
    showFigures(now, evaluated, state.scope === 'all' ? this.data.auroc : null);
    const [all, inList] = byId('scope').children;
    setPressed(all, state.scope === 'all');
    setPressed(inList, state.scope === 'list');
    inList.textContent = `${this.shown.length} in the list`;
  }

  makeThresholds() {
    const { films, data } = this;
    const group = (label) => films.probability.filter((_, i) => films.label[i] === label);
    const candidates = { true: [], false: [] };
    this.all.forEach((i) =>
      films.candidateHits(i).forEach((hit, k) => candidates[hit].push(films.scores[i][k])),
    );
    const { film, box, film_chosen: filmChosen, box_chosen: boxChosen } = data.thresholds;
    this.filmThreshold = new Threshold({
      name: 'film',
      title: 'Film positive from',
      chosen: film,
      remark: filmChosen ? '' : 'Validation could not decide: one half.',
      groups: [['films with an opacity', group(1)], ['films without', group(0)]],
      changed: (value) => this.moveThreshold('film', value),
    });
    this.boxThreshold = new Threshold({
      name: 'box',
      title: 'Box drawn from',
      chosen: box,
      remark: boxChosen ? '' : 'Validation could not decide: all candidates are drawn.',
      groups: [
        ['candidates that hit a true box at an IoU above 0.4', candidates.true],
        ['candidates that hit none', candidates.false],
      ],
      changed: (value) => this.moveThreshold('box', value),
    });
    const scopes = [['all', `All ${films.length} films`], ['list', '']];
    for (const [scope, text] of scopes) {
      const button = element('button', { type: 'button', text });
      button.addEventListener('click', () => this.change({ scope }));
      byId('scope').append(button);
    }
  }

  makeHead() {
    const { data } = this;
    document.title = `${data.name} – films`;
    byId('run').textContent = data.name;
    byId('about').textContent = `${data.model} · ${data.split} films · ${data.protocol}`;
    const remarks = [...data.notices, ...data.warnings];
    byId('remarks').hidden = byId('open-remarks').hidden = !remarks.length;
    byId('open-remarks').textContent = remarks.length > 1 ? `${remarks.length} warnings` : '1 warning';
    byId('open-remarks').addEventListener('click', () => byId('remarks').scrollIntoView());
    byId('remarks').lastElementChild.append(
      ...remarks.map((text) => element('li', { text })),
    );
  }

  /** The film that many places on, also from one that is not in the list. */
  step(places) {
    const { shown, order } = this;
    if (!shown.length) return;
    let place = shown.indexOf(this.state.film);
    if (place < 0) {
      const ranks = new Map(order.map((i, rank) => [i, rank]));
      const here = ranks.get(this.state.film);
      const after = shown.findIndex((i) => ranks.get(i) > here);
      const next = after < 0 ? shown.length : after;
      place = places > 0 ? next - 1 : next;
    }
    this.select(shown[Math.min(shown.length - 1, Math.max(0, place + places))]);
  }

  /** The next error in the list, after its end from the start again. */
  stepToError(direction) {
    const { films, shown, state } = this;
    const isError = (i) => films.outcome(i, state.thresholds.film).startsWith('F');
    const list = direction > 0 ? shown : [...shown].reverse();
    const here = list.indexOf(state.film);
    const next = [...list.slice(here + 1), ...list.slice(0, here + 1)].find(isError);
    if (next !== undefined) this.select(next);
  }

  listen() {
    const { tools } = this;
    const page = () => this.list.pageLength;
    const actions = {
      next: () => this.step(1),
      previous: () => this.step(-1),
      pageDown: () => this.step(page()),
      pageUp: () => this.step(-page()),
      first: () => this.step(-this.films.length),
      last: () => this.step(this.films.length),
      nextError: () => this.stepToError(1),
      previousError: () => this.stepToError(-1),
      resetThresholds: () => this.change({ thresholds: { ...this.start.thresholds } }),
      search: () => byId('search').select(),
      help: () => byId('help').showModal(),
      ...tools.actions,
    };
    listenToKeys(actions);
    fillHelp(byId('help').querySelector('tbody'));
    const buttons = {
      next: 'next',
      previous: 'previous',
      'next-error': 'nextError',
      'reset-thresholds': 'resetThresholds',
      'open-help': 'help',
    };
    for (const [id, name] of Object.entries(buttons)) {
      byId(id).addEventListener('click', actions[name]);
    }
  }
}

async function open() {
  try {
    const response = await fetch('data.json');
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    new Page(await response.json());
  } catch (error) {
    byId('placeholder').textContent = `The films cannot be shown: ${error.message}`;
    byId('placeholder').hidden = false;
    throw error;
  }
}

open();
