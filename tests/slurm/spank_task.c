/* A task of the plugin's tests. */
int main(void) { return 0; }
