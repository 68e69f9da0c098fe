const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function drawCharts() {
  const ink = style('--ink');
  const soft = style('--soft');
  const line = style('--line');
  const runs = [0, 1, 2, 3, 4, 5].map((number) => style(`--run-${number}`));
  const config = {
    background: 'transparent',
    font: 'system-ui, sans-serif',
    view: { stroke: null },
    axis: { labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 12, titleFontSize: 12, titleFontWeight: 'normal', labelLimit: 260 },
    legend: { labelColor: ink, titleColor: soft, labelFontSize: 12, titleFontSize: 12, orient: 'top', labelLimit: 260, symbolStrokeColor: ink },
    range: { category: runs },
    mark: { color: runs[0] },
    rule: { color: ink },
    point: { color: runs[0] },
  };
  for (const [name, specification] of Object.entries(specifications)) {
    const place = document.getElementById(name);
    vegaEmbed(place, { ...specification, config }, { renderer: 'svg', actions: false }).catch((error) => {
      place.textContent = `This chart could not be drawn: ${error.message}`;
    });
  }
}

function showPictures(form) {
  const threshold = Number(form.threshold.value);
  const chosen = form.run ? Number(form.run.value) : 0;
  form.shown.value = threshold.toFixed(2);
  for (const group of document.querySelectorAll('.picture .truth')) {
    group.toggleAttribute('hidden', !form.truth.checked);
    for (const path of group.children) {
      path.classList.toggle('missed', Number(path.dataset.scores.split(' ')[chosen]) < threshold);
    }
  }
  for (const group of document.querySelectorAll('.picture .found')) {
    group.toggleAttribute('hidden', !form.found.checked || Number(group.dataset.run) !== chosen);
    for (const path of group.children) {
      path.toggleAttribute('hidden', Number(path.dataset.score) < threshold);
    }
  }
}

function orderPictures(form) {
  const key = form.order.value;
  const place = document.querySelector('.pictures');
  const pictures = [...place.children];
  pictures.sort((a, b) => b.dataset[key] - a.dataset[key]);
  place.append(...pictures);
}

function startPictures(form) {
  const best = () => {
    const run = form.querySelector('input[name=run]:checked');
    form.threshold.value = (run || form.threshold).dataset.best;
  };
  form.addEventListener('submit', (event) => event.preventDefault());
  form.addEventListener('input', (event) => {
    if (event.target.name === 'run') best();
    if (event.target.name === 'order') orderPictures(form);
    showPictures(form);
  });
  form.best.addEventListener('click', () => {
    best();
    showPictures(form);
  });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches('select, input[type=text]')) return;
    const runs = form.querySelectorAll('input[name=run]');
    const run = runs[Number(event.key) - 1];
    if (event.key === 't' || event.key === 'p') {
      const box = event.key === 't' ? form.truth : form.found;
      box.checked = !box.checked;
    } else if (run) {
      run.checked = true;
      best();
    } else {
      return;
    }
    showPictures(form);
  });
  orderPictures(form);
  showPictures(form);
}

drawCharts();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawCharts);
const tools = document.querySelector('.tools');
if (tools) startPictures(tools);
