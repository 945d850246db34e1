// As a bundler writes it, with a React of its own.
export const render = async (props) => `<b>${props.name.length}</b>`;
